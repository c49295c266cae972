"""Floor 3: token shards -> global batches, a pure function of the step."""
