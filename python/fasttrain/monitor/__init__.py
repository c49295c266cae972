"""Floor 3: metrics, guard, hardware."""
