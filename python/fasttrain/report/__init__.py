"""Floor 6: run folder -> one self-contained HTML page."""
