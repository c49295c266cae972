"""Floor 6: checkpoint -> Hugging Face folder."""
