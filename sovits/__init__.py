"""Voices: reading, converting and speaking with GPT-SoVITS models. Knows nothing of the network."""
