"""Words for the size and the place of an object, from its mask."""

import numpy as np


def size_word(share: float, bounds: tuple[float, float]) -> str:
    """What an object is called that takes ``share`` (0..1) of the image.

    ``bounds`` are the shares from which on it is medium and large; below it is small.
    """
    return ("small", "medium", "large")[sum(share >= bound for bound in bounds)]


def place_word(mask: np.ndarray) -> str:
    """Where the centre of ``mask``, bool (H, W), lies on a grid of thirds: "top left", "left", "center" and so on."""
    rows, columns = np.nonzero(mask)
    row = ("top", "", "bottom")[int(3 * rows.mean() / mask.shape[0])]
    column = ("left", "", "right")[int(3 * columns.mean() / mask.shape[1])]
    return f"{row} {column}".strip() or "center"
