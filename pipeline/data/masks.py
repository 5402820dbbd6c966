"""What a mask file marks as foreground: one function for each kind of mask, registered here."""

from collections.abc import Callable

import numpy as np
from PIL import Image

THRESHOLD = 128
# JPEG turns a grey level into channels a few steps apart; a photograph differs by more.
GREY_TOLERANCE = 16
# A class needs this share of the foreground: chroma subsampling mixes red and green where they touch.
CLASS_SHARE = 0.01
EIGHT_BIT_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA")

MaskReader = Callable[[Image.Image], tuple[np.ndarray, str]]


def read_grey(image: Image.Image) -> tuple[np.ndarray, str]:
    """Foreground where the grey level reaches 128 of 255. No class.

    Raises:
        ValueError: the image is a coloured one, so it is no mask.
    """
    if image.mode not in ("1", "L", "LA"):
        colours = np.asarray(image.convert("RGB"))
        spread = colours.max(axis=2).astype(np.int16) - colours.min(axis=2)
        if spread.mean() > GREY_TOLERANCE:
            raise ValueError("in colour where a black and white mask is expected")
    return np.asarray(image.convert("L")) >= THRESHOLD, ""


def read_red_green(image: Image.Image) -> tuple[np.ndarray, str]:
    """Foreground where red or green reaches 128; class neoplastic (red), non-neoplastic (green) or both.

    Raises:
        ValueError: there is foreground, but neither red nor green, so it has no class.
    """
    colours = np.asarray(image.convert("RGB"))
    red, green, blue = colours[..., 0], colours[..., 1], colours[..., 2]
    foreground = (red >= THRESHOLD) | (green >= THRESHOLD)
    least = max(1, round(CLASS_SHARE * np.count_nonzero(foreground)))
    neoplastic = np.count_nonzero(foreground & (red > green) & (blue < THRESHOLD)) >= least
    other = np.count_nonzero(foreground & (green > red) & (blue < THRESHOLD)) >= least
    if foreground.any() and not (neoplastic or other):
        raise ValueError("without colour where red and green regions are expected")
    if neoplastic and other:
        return foreground, "both"
    return foreground, "neoplastic" if neoplastic else "non-neoplastic" if other else ""


KINDS: dict[str, MaskReader] = {"grey": read_grey, "red_green": read_red_green}


def read_mask(image: Image.Image, kind: str) -> tuple[np.ndarray, str]:
    """The foreground of a mask, binarised once and for all.

    Args:
        image: any 8-bit mode, of size (W, H).
        kind: ``mask_kind`` of the dataset.

    Returns:
        foreground, bool (H, W), and the class that the mask's colours give, or "".

    Raises:
        ValueError: the image is no mask of that kind; the message completes "the mask is ...".
    """
    if image.mode not in EIGHT_BIT_MODES:
        raise ValueError(f"of Pillow mode {image.mode} where 8 bits a channel are expected")
    return KINDS[kind](image)
