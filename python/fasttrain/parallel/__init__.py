"""Floor 5: data, tensor and pipeline parallel plans, applied to a model from outside."""
