"""Coloured shapes on textured backgrounds with prompts that name them: what the demo's backbone is pretrained on.

Another domain than the phantoms of the datasets: flat shapes instead of tissue, several in each picture, and a prompt
that chooses among them. Words for colour, outline and size are shared with the phantoms' prompts, so that text can
transfer.
"""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

Array = np.ndarray

COLOURS = {
    "red": (205, 50, 45),
    "pink": (240, 160, 165),
    "orange": (235, 140, 50),
    "yellow": (235, 210, 80),
    "brown": (125, 75, 45),
    "white": (240, 236, 228),
    "dark": (42, 36, 38),
    "blue": (60, 90, 205),
    "green": (70, 160, 80),
}
OUTLINES = ("round", "oval", "irregular", "square", "triangular")
# Radius as a share of the picture's side; small and large shapes differ clearly.
SIZES = {"small": (0.09, 0.13), "large": (0.17, 0.25)}
OBJECTS = 3
TEMPLATES = (
    "{colour} shape",
    "{outline} shape",
    "{colour} {outline} shape",
    "{size} {colour} {outline} shape",
    "one {size} {colour} {outline} shape in the image",
)


@dataclass
class ShapeBatch:
    """Pictures with ``queries`` prompts each.

    Attributes:
        images: (batch, side, side, 3) uint8.
        masks: (batch, queries, side, side) uint8, 1 on every shape that fits the prompt; at least one does.
        prompts: ``prompts[i][j]`` belongs to ``masks[i, j]``.
    """

    images: Array
    masks: Array
    prompts: list[list[str]]


def _interpolation(cells: int, side: int) -> Array:
    """(side, cells) matrix of linear interpolation."""
    position = np.linspace(0, cells - 1, side)
    return np.maximum(0, 1 - np.abs(position[:, None] - np.arange(cells))).astype(np.float32)


def _noise(rng: Generator, batch: int, side: int, cells: int, channels: int) -> Array:
    """Smooth noise, (batch, side, side, channels), of about unit deviation."""
    coarse = rng.standard_normal((batch, cells, cells, channels), dtype=np.float32)
    weights = _interpolation(cells, side)
    return np.einsum("yi,xj,bijc->byxc", weights, weights, coarse, optimize=True)


def _distance(outline: str, u: Array, v: Array, phase: Array) -> Array:
    """0 at a shape's centre, 1 on its outline; ``u``, ``v`` in radii, ``phase`` turns the waves of irregular ones."""
    if outline == "square":
        return np.maximum(np.abs(u), np.abs(v)) / 0.86
    if outline == "triangular":
        return np.maximum(v, np.maximum(0.866 * u - 0.5 * v, -0.866 * u - 0.5 * v)) / 0.6
    radius = np.hypot(u, v)
    if outline == "irregular":
        angle = np.arctan2(v, u)
        return radius / (1 + 0.17 * np.cos(5 * angle + phase) + 0.12 * np.cos(3 * angle - phase))
    return radius


def draw_shapes(
    rng: Generator, batch: int, side: int, queries: int = 1, templates: tuple[str, ...] = TEMPLATES
) -> ShapeBatch:
    """Draw ``batch`` pictures of OBJECTS shapes and ask ``queries`` times for some of what is in each.

    Args:
        side: of the pictures, in pixels.
        templates: of the prompts, from which each is drawn.
    """
    colours = np.array(list(COLOURS.values()), np.float32)
    # Colours differ within a picture; outlines and sizes may repeat.
    colour = np.argsort(rng.random((batch, len(COLOURS))), axis=1)[:, :OBJECTS]
    outline = rng.integers(len(OUTLINES), size=(batch, OBJECTS))
    size = rng.integers(len(SIZES), size=(batch, OBJECTS))

    span = np.array(list(SIZES.values()), np.float32)[size]
    radius = side * (span[..., 0] + rng.random((batch, OBJECTS), np.float32) * (span[..., 1] - span[..., 0]))
    # One shape in each third of a turn around the centre, so that they rarely overlap.
    turn = rng.random((batch, 1)) * 2 * np.pi + 2 * np.pi / OBJECTS * (
        np.arange(OBJECTS) + rng.uniform(-0.2, 0.2, (batch, OBJECTS))
    )
    reach = side * rng.uniform(0.24, 0.34, (batch, OBJECTS))
    shift = side * rng.uniform(-0.05, 0.05, (2, batch, 1))
    y = side / 2 + shift[0] + reach * np.sin(turn)
    x = side / 2 + shift[1] + reach * np.cos(turn)
    angle = rng.random((batch, OBJECTS)) * 2 * np.pi
    stretch = np.where(outline == OUTLINES.index("oval"), rng.uniform(1.25, 1.45, (batch, OBJECTS)), 1)
    phase = rng.random((batch, OBJECTS)) * 2 * np.pi

    inside = np.empty((batch, OBJECTS, side, side), bool)
    pixels = np.arange(side, dtype=np.float32)
    for index, name in enumerate(OUTLINES):
        chosen = outline == index
        row, column, length, cosine, sine, longer, turned = (
            values[chosen].astype(np.float32)[:, None, None]
            for values in (y, x, radius, np.cos(angle), np.sin(angle), stretch, phase)
        )
        down, right = pixels[None, :, None] - row, pixels[None, None, :] - column
        u = (right * cosine + down * sine) / (length * longer)
        v = (down * cosine - right * sine) * (longer / length)
        inside[chosen] = _distance(name, u, v, turned) < 1
    for index in range(OBJECTS - 1):
        # Later shapes lie above earlier ones.
        inside[:, index] &= ~inside[:, index + 1 :].any(axis=1)

    grey = rng.uniform(70, 210, (batch, 1, 1, 1)).astype(np.float32)
    tint = rng.normal(0, 14, (batch, 1, 1, 3)).astype(np.float32)
    image = grey + tint + 12 * _noise(rng, batch, side, 4, 3) + 9 * _noise(rng, batch, side, 16, 1)
    paint = colours[colour] + rng.normal(0, 9, (batch, OBJECTS, 3)).astype(np.float32)
    texture = 1 + 0.07 * _noise(rng, batch, side, 12, 1)
    for index in range(OBJECTS):
        place = inside[:, index, :, :, None]
        image = np.where(place, paint[:, index, None, None] * texture, image)
    image += rng.integers(-6, 7, image.shape, np.int8)
    images = np.clip(image, 0, 255).astype(np.uint8)

    masks = np.empty((batch, queries, side, side), np.uint8)
    prompts: list[list[str]] = []
    colour_words, size_words = list(COLOURS), list(SIZES)
    for row in range(batch):
        prompts.append([])
        for query, wanted in enumerate(rng.permutation(np.arange(queries) % OBJECTS)):
            template = templates[rng.integers(len(templates))]
            fits = np.ones(OBJECTS, bool)
            for word, values in (("colour", colour), ("outline", outline), ("size", size)):
                if f"{{{word}}}" in template:
                    fits &= values[row] == values[row, wanted]
            masks[row, query] = inside[row, fits].any(axis=0)
            prompts[-1].append(
                template.format(
                    colour=colour_words[colour[row, wanted]],
                    outline=OUTLINES[outline[row, wanted]],
                    size=size_words[size[row, wanted]],
                )
            )
    return ShapeBatch(images, masks, prompts)
