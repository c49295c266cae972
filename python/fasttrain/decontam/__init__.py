"""Floor 3: documents that hold benchmark items."""
