"""Masks drawn on their images."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageOps
from scipy.ndimage import binary_erosion

# Blue occurs in neither tissue nor skin, and colour-blind readers see it; the outline is white.
TINT, OPACITY, PIXELS_BY_LINE = (0, 114, 255), 0.4, 400


def overlay(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """``image`` (H, W, 3) uint8 with ``mask`` (H, W) bool tinted and outlined."""
    result = image.astype(np.float32)
    result[mask] = (1 - OPACITY) * result[mask] + OPACITY * np.array(TINT, dtype=np.float32)
    line = max(1, round(max(mask.shape) / PIXELS_BY_LINE))
    result[mask & ~binary_erosion(mask, iterations=line, border_value=1)] = 255
    return result.round().astype(np.uint8)


def sheet(pictures: Sequence[np.ndarray], columns: int, side: int) -> Image.Image:
    """``pictures``, (H, W, 3) uint8 each, side by side in squares of ``side`` pixels, whole and centred."""
    rows = -(-len(pictures) // columns)
    result = Image.new("RGB", (columns * side, rows * side), "white")
    for index, picture in enumerate(pictures):
        image = ImageOps.contain(Image.fromarray(picture), (side - 8, side - 8))
        corner = (index % columns * side, index // columns * side)
        result.paste(image, tuple(at + (side - size) // 2 for at, size in zip(corner, image.size, strict=True)))
    return result
