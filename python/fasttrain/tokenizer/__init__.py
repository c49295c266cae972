"""Floor 3: byte-level BPE, trained and applied."""
