"""Floor 5: parameters, FLOPs, memory and time before they are spent."""
