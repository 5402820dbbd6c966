"""Figures: PDF and PNG, one module each."""
