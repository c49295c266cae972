"""Floor 3: files of a lake -> documents."""
