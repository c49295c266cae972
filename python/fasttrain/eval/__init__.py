"""Floor 5: checkpoint -> scores, baselines, generations, gates."""
