"""Tables and figures, and their style."""
