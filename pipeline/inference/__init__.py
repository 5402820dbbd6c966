"""Trained models at work: images of one's own, and models for others."""
