"""Floor 3: weights and epochs by source."""
