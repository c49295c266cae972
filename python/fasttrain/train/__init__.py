"""Floor 6: the journey from token shards to checkpoints."""
