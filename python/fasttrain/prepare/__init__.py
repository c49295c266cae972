"""Floor 6: the journey from a lake to token shards."""
