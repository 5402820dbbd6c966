"""Light augmentation of a batch, on its device: flips, rotation, scale, brightness, contrast and saturation.

What is done to a case follows from seed, pass and the case's name alone: not from its batch, nor from what was drawn
before. Hue stays, since prompts name colours. Prompts name places, too: of a flip their words follow
(:func:`pipeline.data.prompts.mirrored`); rotation and scale can move an object over the border between two places, so
where a prompt names one, they are left out.
"""

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import grid_sample

ROTATION = np.deg2rad(15)
SCALE = 0.1
COLOUR = 0.2
"""Largest rotation; largest changes of size, and of brightness, contrast and saturation, as shares."""
_DRAWS = 7
_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601
_GREY = 127.5


class Views(NamedTuple):
    """How some cases are seen in one pass.

    Attributes:
        flips: (cases, 2) bool: whether left and right, and whether top and bottom change places.
        values: (cases, 7) float32: the matrix from places of the view to places of the image, row by row, its centre
            being 0; factors of brightness, contrast and saturation.
    """

    flips: NDArray[np.bool_]
    values: Tensor


def draw_views(cases: Sequence[str], seed: int, index: int, placed: Sequence[bool] = ()) -> Views:
    """The views of ``cases``, by name, in pass ``index`` over the training cases.

    Args:
        placed: which cases are neither turned nor scaled; none if absent.
    """
    keys = (f"view\0{seed}\0{case}\0{index}".encode() for case in cases)
    drawn = b"".join(hashlib.shake_128(key).digest(4 * _DRAWS) for key in keys)
    uniform = np.frombuffer(drawn, "<u4").reshape(-1, _DRAWS) / 2**32
    flips, (turn, size, *colours) = uniform[:, :2] < 0.5, 2 * uniform[:, 2:].T - 1
    if len(placed):
        turn, size = np.where(placed, 0, (turn, size))
    x, y = (np.where(flips, -1, 1) / (1 + SCALE * size)[:, None]).T
    cos, sin = np.cos(ROTATION * turn), np.sin(ROTATION * turn)
    columns = [x * cos, -x * sin, y * sin, y * cos, *(1 + COLOUR * colour for colour in colours)]
    return Views(flips, torch.from_numpy(np.stack(columns, axis=1).astype(np.float32)))


def augment(images: Tensor, masks: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """Images and masks as ``values`` of :class:`Views` say; what a view shows beyond the image is black background.

    Args:
        images: (batch, side, side, 3) uint8.
        masks: (batch, side, side) uint8; nearest neighbours are taken.
        values: on the same device.

    Returns:
        Images as float32 in 0..255, masks as they were. Neither the number of threads nor autocast nor TF32 changes
        them, as no sum over pixels and no matrix product is taken.
    """
    brightness, contrast, saturation = values[:, 4:, None, None, None].unbind(1)
    pixels = (images * brightness - _GREY) * contrast + _GREY
    grey = sum(weight * part for weight, part in zip(_LUMA, pixels.split(1, dim=-1), strict=True))
    pixels = (grey + (pixels - grey) * saturation).clamp(0, 255)
    side = images.shape[1]
    centres = (2 * torch.arange(side, device=images.device) + 1) / side - 1
    xx, xy, yx, yy = values[:, :4, None, None].unbind(1)
    x, y = centres, centres[:, None]
    grid = torch.stack([xx * x + xy * y, yx * x + yy * y], dim=-1)
    pixels = grid_sample(pixels.permute(0, 3, 1, 2), grid, align_corners=False).permute(0, 2, 3, 1)
    moved = grid_sample(masks[:, None].float(), grid, mode="nearest", align_corners=False)[:, 0]
    return pixels, moved.to(masks.dtype)
