"""Reproducible benchmark of Telescopic Adapters (arXiv 2512.13855) for medical image segmentation with CLIPSeg."""

__version__ = "1.0.0"
