"""Floor 3: exact and near duplicates, verified before anything is removed."""
