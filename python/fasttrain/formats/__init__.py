"""Floor 2: what lies on disk. Documents, manifests, stages, the ledger, token shards, the run folder."""
