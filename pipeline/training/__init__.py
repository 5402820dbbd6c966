"""Training: settings, loss, loop, resume."""
