"""Floor 4: config -> parameters and forward; knows no ranks."""
