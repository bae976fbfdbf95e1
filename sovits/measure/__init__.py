"""Measuring a voice: pitch, speaker, words and quality, each figure with the method that gave it."""
