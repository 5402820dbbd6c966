"""What every step needs: atomic writes, errors, progress, GPU lease, run manifest, warm start."""
