"""How fast the pipeline is, against plain ways of doing the same."""
