"""Coloured shapes: masks hold what their prompts name, whole, and nothing else."""

import numpy as np
import pytest
from scipy import ndimage

from pipeline.demo.shapes import COLOURS, OUTLINES, SIZES, draw_shapes

SIDE, QUERIES = 96, 9
WORDS = [*((word, "colour") for word in COLOURS), *((word, "outline") for word in OUTLINES)]
KIND = dict([*WORDS, *((word, "size") for word in SIZES)])


def traits(prompt):
    """What a prompt asks for: {"colour": "red", ...}."""
    return {KIND[word]: word for word in prompt.split() if word in KIND}


@pytest.fixture(scope="module")
def batch():
    return draw_shapes(np.random.default_rng(7), 160, SIDE, QUERIES)


@pytest.fixture(scope="module")
def asked(batch):
    """(image, mask as bool, traits) of every query."""
    return [
        (batch.images[row], batch.masks[row, query].astype(bool), traits(prompt))
        for row, prompts in enumerate(batch.prompts)
        for query, prompt in enumerate(prompts)
    ]


def test_shapes_and_types(batch):
    assert batch.images.shape == (160, SIDE, SIDE, 3)
    assert batch.masks.shape == (160, QUERIES, SIDE, SIDE)
    assert batch.images.dtype == batch.masks.dtype == np.uint8
    assert set(np.unique(batch.masks)) == {0, 1}
    assert batch.masks.any(axis=(2, 3)).mean() > 0.99
    assert [len(prompts) for prompts in batch.prompts] == [QUERIES] * 160


def test_every_word_is_asked_for(asked):
    assert {word for _, _, wanted in asked for word in wanted.values()} == set(KIND)


def test_masks_have_the_colour_that_the_prompt_names(asked):
    names, levels = list(COLOURS), np.array(list(COLOURS.values()))
    right = []
    for image, mask, wanted in asked:
        if "colour" in wanted and mask.any():
            median = np.median(image[mask], axis=0)
            right.append(names[np.linalg.norm(levels - median, axis=1).argmin()] == wanted["colour"])
    assert len(right) > 500
    assert np.mean(right) > 0.97


def test_a_longer_prompt_names_a_part_and_a_contrary_one_something_else(batch):
    parts = others = 0
    for row, prompts in enumerate(batch.prompts):
        wanted = [traits(prompt) for prompt in prompts]
        masks = batch.masks[row].astype(bool)
        for one in range(QUERIES):
            for two in range(QUERIES):
                if wanted[one].items() < wanted[two].items():
                    assert not (masks[two] & ~masks[one]).any()
                    parts += 1
                if any(wanted[two].get(kind, word) != word for kind, word in wanted[one].items()):
                    assert not (masks[one] & masks[two]).any()
                    others += 1
                if wanted[one] == wanted[two]:
                    assert (masks[one] == masks[two]).all()
    assert parts > 500
    assert others > 2000


def test_outlines_are_what_they_are_called(asked):
    # Farthest point from the centre, in radii of a circle of the same area: exact for whole shapes, so the median.
    expected = {"round": 1.0, "square": (np.pi / 2) ** 0.5, "triangular": 2 * (np.pi / 3**1.5) ** 0.5}
    ratios = {name: [] for name in expected}
    for _, mask, wanted in asked:
        if wanted.get("outline") in ratios and "colour" in wanted:
            _, count = ndimage.label(mask)
            if count == 1:
                rows, columns = np.nonzero(mask)
                far = np.hypot(rows - rows.mean(), columns - columns.mean()).max()
                ratios[wanted["outline"]].append(far / np.sqrt(mask.sum() / np.pi))
    for name, value in expected.items():
        assert np.median(ratios[name]) == pytest.approx(value, abs=0.08), name


def test_small_shapes_are_smaller_than_large_ones(asked):
    areas = {size: [mask.sum() / SIDE**2 for _, mask, wanted in asked if wanted.get("size") == size] for size in SIZES}
    # No outline covers more than a circle of its radius by a tenth.
    assert max(areas["small"]) < 1.1 * np.pi * SIZES["small"][1] ** 2 < np.median(areas["large"])
