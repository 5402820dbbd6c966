"""Whether images belong to masks."""

import numpy as np
import pytest

from pipeline.data.alignment import contrasts, misalignment

COUNT, SIDE = 200, 16


@pytest.fixture
def dataset():
    """Noise with a brighter rectangle, anywhere but in the middle, under each mask."""
    rng = np.random.default_rng(0)
    masks = np.zeros((COUNT, SIDE, SIDE))
    for mask, left, top in zip(masks, rng.integers(0, 4, COUNT), rng.integers(0, 4, COUNT), strict=True):
        mask[top : top + 4, left : left + 4] = 1
    return rng.normal(100, 20, masks.shape) + 30 * masks, masks


def test_contrast_is_in_standard_deviations():
    masks = np.zeros((2, 2, 2))
    masks[0, 0], masks[1, 1] = 1, 1
    assert contrasts(masks * 80, masks) == pytest.approx([2, 2])


def test_images_that_belong_to_their_masks(dataset):
    images, masks = dataset
    assert misalignment(images, masks, None) == ""
    assert misalignment(images, masks, contrasts(images, masks).mean() + 0.05) == ""


@pytest.mark.parametrize(
    ("turn", "reason"),
    [
        (np.s_[:, :, ::-1], "mirrored"),
        (np.s_[:, ::-1], "upside down"),
        (np.s_[:, ::-1, ::-1], "turned by 180 degrees"),
    ],
)
def test_images_that_were_turned(dataset, turn, reason):
    images, masks = dataset
    assert misalignment(images[turn], masks, None) == f"images fit the masks better when they are {reason}"
    assert misalignment(images[turn][:50], masks[:50], None) == ""


def test_images_that_were_exchanged(dataset):
    images, masks = dataset
    published = float(contrasts(images, masks).mean())
    moved = np.arange(COUNT)
    moved[:60] = np.roll(moved[:60], 1)
    assert f"where {published:.2f} is expected" in misalignment(images[moved], masks, published)
