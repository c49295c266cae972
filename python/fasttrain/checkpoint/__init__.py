"""Floor 3: a training state on disk, for any layout."""
