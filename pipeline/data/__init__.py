"""Data: the table of datasets, archives, standardising, integrity, splits and prompts, tensors, facts of the audit."""
