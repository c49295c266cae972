"""Floor 0: errors, settings, checks, backend choice, log. Imports nothing of fasttrain."""
