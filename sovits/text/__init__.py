"""Text to phonemes for Cantonese, Mandarin and English."""
