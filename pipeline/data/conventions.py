"""What counts as foreground of a mask file."""

CORRECTED, REFERENCE = CONVENTIONS = ("corrected", "reference")
"""Levels from 128 on, or levels above 0, as the reference's code has it (:mod:`pipeline.data.masks`)."""
