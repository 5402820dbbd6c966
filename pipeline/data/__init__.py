"""Datasets: sources, fetching, standardising, splits and prompts, integrity, tensors, phantoms."""
