"""The foreground of a mask file: one function for each kind of mask, registered here."""

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageChops

from pipeline.runtime.errors import PipelineError

THRESHOLD = 128
# JPEG turns a grey level into channels a few steps apart; a photograph differs by more.
GREY_TOLERANCE = 16
# Levels that neither black nor white explains, and the share of them at which the file is no mask: edges have some.
MIDDLE, MIDDLE_SHARE = (32, 224), 0.25
# A class needs this share of the foreground: chroma subsampling mixes red and green where they touch.
CLASS_SHARE = 0.01
MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA")
LISTED = 6

MaskReader = Callable[[Image.Image], tuple[np.ndarray, str]]


def _foreground(plane: Image.Image) -> np.ndarray:
    """Where a plane of mode L reaches 128, bool (H, W).

    Raises:
        ValueError: its levels are not those of black and white.
    """
    levels = np.asarray(plane)
    middle = np.count_nonzero((levels >= MIDDLE[0]) & (levels < MIDDLE[1])) / levels.size
    if 0 < levels.max() < THRESHOLD or middle > MIDDLE_SHARE:
        found = np.unique(levels)
        listed = ", ".join(map(str, found[:LISTED])) + (f" to {found[-1]}" if len(found) > LISTED else "")
        raise ValueError(f"not black (0) and white (255): its levels are {listed}")
    return levels >= THRESHOLD


def read_grey(image: Image.Image) -> tuple[np.ndarray, str]:
    """Foreground where the grey level reaches 128 of 255. No class.

    Raises:
        ValueError: the image is in colour, or its levels are not those of black and white.
    """
    if image.mode not in ("1", "L", "LA"):
        image = image.convert("RGB")
        # Two planes at a time: max and min along the last axis take several times as long.
        red, green, blue = map(np.asarray, image.split())
        spread = np.maximum(np.maximum(red, green), blue) - np.minimum(np.minimum(red, green), blue)
        if spread.mean() > GREY_TOLERANCE:
            raise ValueError("in colour where a black and white mask is expected")
    return _foreground(image.convert("L")), ""


def read_red_green(image: Image.Image) -> tuple[np.ndarray, str]:
    """Foreground where red or green reaches 128; class neoplastic (red), non-neoplastic (green) or both.

    Raises:
        ValueError: there is foreground, but neither red nor green, so it has no class; or the levels are not a mask's.
    """
    planes = image.convert("RGB").split()
    foreground = _foreground(ImageChops.lighter(*planes[:2]))
    red, green, blue = (np.asarray(plane) for plane in planes)
    least = max(1, round(CLASS_SHARE * np.count_nonzero(foreground)))
    coloured = foreground & (blue < THRESHOLD)
    neoplastic = np.count_nonzero(coloured & (red > green)) >= least
    other = np.count_nonzero(coloured & (green > red)) >= least
    if foreground.any() and not (neoplastic or other):
        raise ValueError("without colour where red and green regions are expected")
    if neoplastic and other:
        return foreground, "both"
    return foreground, "neoplastic" if neoplastic else "non-neoplastic" if other else ""


def read_trimap(image: Image.Image) -> tuple[np.ndarray, str]:
    """Foreground where a trimap's level is 1 (pet) or 3 (border), not 2 (background). No class.

    The border, a strip that the annotators left open, is most of the fur and has what the pet wears; counting it is
    the usual choice for two classes.

    Raises:
        ValueError: there are other levels.
    """
    levels = np.asarray(image)
    if image.mode not in ("L", "P") or not np.isin(levels, (1, 2, 3)).all():
        raise ValueError("no trimap: its levels are not 1, 2 and 3")
    return levels != 2, ""


READ_AS_REFERENCE = ("grey", "red_green")
"""Kinds on black, of which alone :func:`read_as_reference` makes sense."""
KINDS: dict[str, MaskReader] = {"grey": read_grey, "red_green": read_red_green, "trimap": read_trimap}


def read_as_reference(image: Image.Image) -> np.ndarray:
    """Where the grey level is above 0, bool (H, W), as the reference's evaluation reads masks (OpenCV's greyscale).

    In a JPEG that takes in the noise around black and white.

    Args:
        image: any 8-bit mode; of a JPEG its luma plane.
    """
    return np.asarray(image.convert("L")) > 0


def read_mask(image: Image.Image, kind: str) -> tuple[np.ndarray, str]:
    """The foreground of a mask, binarised once and for all.

    Args:
        image: any 8-bit mode, of size (W, H).
        kind: ``mask_kind`` of the dataset.

    Returns:
        foreground, bool (H, W), and the class that the mask's colours give, or "".

    Raises:
        ValueError: the image is no mask of that kind; the message completes "the mask is ...".
        PipelineError: there is no such kind.
    """
    if kind not in KINDS:
        raise PipelineError(f"mask_kind {kind!r} is unknown; correct datasets.yaml: {', '.join(KINDS)}")
    if image.mode not in MODES:
        raise ValueError(f"of Pillow mode {image.mode} where grey, a palette or RGB is expected")
    if image.has_transparency_data:
        low, high = image.convert("RGBA").getchannel("A").getextrema()
        if low != high:
            raise ValueError("partly transparent where a black and white mask is expected")
    return KINDS[kind](image)
