"""Cost: parameters and FLOPs."""
