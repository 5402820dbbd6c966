"""Split-list records for phantom images: name, box and prompts, in the format of the published lists."""

from typing import Any

import numpy as np

from pipeline.data.descriptions import place_word, size_word
from pipeline.demo.phantom_images import Phantom

COUNTS = {1: "one", 2: "two"}
SIZES = (0.04, 0.11)
"""Mean share of the image from which on objects are medium and large."""

DESCRIPTIONS = {
    "polyp": (
        "a smooth bump that rises from the wall of the colon",
        "a lump of tissue with a bright top and a dark edge",
        "a growth on the mucosa",
    ),
    "skin lesion": (
        "a patch that is darker than the skin around it",
        "a spot with an uneven border",
        "a mark with a rough texture",
    ),
}
SCAN = "in a breast ultrasound scan"


def _size(masks: list[np.ndarray]) -> str:
    return size_word(float(np.mean([mask.mean() for mask in masks])), SIZES)


def _places(masks: list[np.ndarray]) -> str:
    return " and ".join(dict.fromkeys(place_word(mask) for mask in masks))


def _general(name: str, phantom: Phantom) -> dict[str, Any]:
    """p0 to p9 for polyps and skin lesions: word by word more, then with a description of what ``name`` is."""
    kinds = DESCRIPTIONS[name]
    shaped = f"{phantom.shape} {name}"
    coloured = f"{phantom.colour} {shaped}"
    sized = f"{_size(phantom.masks)} {coloured}"
    counted = f"{COUNTS[len(phantom.masks)]} {sized}"
    place = f"at the {_places(phantom.masks)} of the image"
    return {
        "p0": "",
        "p1": name,
        "p2": shaped,
        "p3": coloured,
        "p4": sized,
        "p5": counted,
        "p6": f"{counted} {place}",
        "p7": [f"{name}, {kind}" for kind in kinds],
        "p8": [f"{counted}, {kind}" for kind in kinds],
        "p9": [f"{counted}, {kind}, {place}" for kind in kinds],
    }


def _scan(phantom: Phantom) -> dict[str, Any]:
    """p0 to p6 for breast ultrasound; every prompt of a normal scan says that nothing is there."""
    if not phantom.masks:
        return {"p0": "", **{f"p{index}": f"no tumor {SCAN}" for index in range(1, 7)}}
    noun = "tumor" if len(phantom.masks) == 1 else "tumors"
    count, size, place = COUNTS[len(phantom.masks)], _size(phantom.masks), f"at the {_places(phantom.masks)}"
    # Each class has two names: the diagnosis and what its outline looks like.
    names = (phantom.groups[0], {"benign": "smooth", "malignant": "uneven"}[phantom.groups[0]])
    return {
        "p0": "",
        "p1": f"tumor {SCAN}",
        "p2": [f"{name} {noun} {SCAN}" for name in names],
        "p3": [f"{count} {name} {noun} {SCAN}" for name in names],
        "p4": [f"{count} {size} {name} {noun} {SCAN}" for name in names],
        "p5": [f"{count} {size} {name} {noun} {place} {SCAN}" for name in names],
        "p6": [f"{count} {size} {phantom.colour} {phantom.shape} {name} {noun} {place} {SCAN}" for name in names],
    }


def bounding_box(mask: np.ndarray) -> list[int]:
    """``[xmin - 1, ymin - 1, xmax + 1, ymax + 1]`` of the foreground, clipped at 0, as in the published lists.

    An empty (height, width) mask gives ``[width, height, 0, 0]``.
    """
    height, width = mask.shape
    if not mask.any():
        return [width, height, 0, 0]
    rows, columns = np.nonzero(mask.any(axis=1))[0], np.nonzero(mask.any(axis=0))[0]
    low = (max(int(columns[0]) - 1, 0), max(int(rows[0]) - 1, 0))
    return [*low, int(columns[-1]) + 1, int(rows[-1]) + 1]


def record(number: int, kind: str, name: str, image: str, mask: str, phantom: Phantom) -> dict[str, Any]:
    """One entry of a split list.

    Args:
        number: running number in the dataset.
        kind: ``polyp``, ``skin lesion`` or ``scan``; decides the prompts.
        name: the case.
        image, mask: file names as the lists write them.
    """
    return {
        "bbox": bounding_box(phantom.mask),
        "cat": 0,
        "segment_id": name,
        "img_name": image,
        "mask_name": mask,
        "sentences": [{"idx": 0, "sent_id": number, "sent": ""}],
        "prompts": _scan(phantom) if kind == "scan" else _general(kind, phantom),
        "sentences_num": 1,
    }
