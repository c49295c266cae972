"""Floor 3: layers and their kernels."""
