"""Making a voice of clips, by fine-tuning an installed one. Follows specs/training.md."""
