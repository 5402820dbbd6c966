"""Phantom images for the demo: miniatures of the five datasets' pictures, drawn with numpy from a generator.

They are caricatures with the datasets' technical traits (sizes, fields of view, several masses, empty normals) and
their usual distractors (reflections, folds, dark corners, hairs, acoustic shadows). They hold no patient's data.
"""

from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from PIL import Image
from scipy.ndimage import shift

Array = np.ndarray
Colour = tuple[float, float, float]


@dataclass
class Phantom:
    """One drawn case.

    Attributes:
        image: (height, width, 3) uint8.
        masks: one (height, width) bool array for each object; none if nothing is there.
        shape, colour: words for the objects, as prompts use them; "" where there is none.
        groups: class of each object (BKAI, BUSI), or nothing.
    """

    image: Array
    masks: list[Array]
    shape: str = ""
    colour: str = ""
    groups: list[str] = field(default_factory=list)

    @property
    def mask(self) -> Array:
        """All objects together, (height, width) bool."""
        return np.logical_or.reduce([np.zeros(self.image.shape[:2], bool), *self.masks])


# ---------------------------------------------------------------- building blocks


def _noise(rng: Generator, height: int, width: int, cells: int) -> Array:
    """Smooth noise of unit deviation with about ``cells`` bumps along each axis."""
    coarse = rng.standard_normal((cells + 2, cells + 2), dtype=np.float32)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def _grid(height: int, width: int) -> tuple[Array, Array]:
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    return rows, columns


class _Blob(NamedTuple):
    """A closed outline: ``distance`` is 0 at its centre and 1 on it; ``side`` is -1..1 along the light."""

    distance: Array
    side: Array


def _blob(
    rng: Generator, height: int, width: int, radius: float, centre: tuple[float, float], aspect: float, lobes: float
) -> _Blob:
    """An ellipse of mean radius ``radius`` (pixels) at ``centre`` (0..1), its outline waved by ``lobes`` (0..0.3)."""
    rows, columns = _grid(height, width)
    y, x = rows - centre[0] * height, columns - centre[1] * width
    angle = rng.uniform(0, np.pi)
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    u, v = along / (radius * aspect**0.5), across / (radius / aspect**0.5)
    theta = np.arctan2(v, u)
    outline = np.ones_like(theta)
    for wave in (2, 3, 5, 7):
        outline += lobes * rng.uniform(0.2, 1) / wave**0.5 * np.cos(wave * theta + rng.uniform(0, 2 * np.pi))
    light = rng.uniform(0, 2 * np.pi)
    return _Blob(np.hypot(u, v) / outline, (x * np.cos(light) + y * np.sin(light)) / (radius * aspect**0.5))


def _ramp(value: Array, start: float, stop: float) -> Array:
    """0 before ``start``, 1 after ``stop``, smooth between (either order)."""
    x = np.clip((value - start) / (stop - start), 0, 1)
    return x * x * (3 - 2 * x)


def _blend(image: Array, opacity: Array, colour: Colour | Array) -> None:
    """Lay ``colour`` over ``image`` (height, width, 3) in place."""
    image += opacity[..., None] * (np.asarray(colour, np.float32) - image)


def _jittered(rng: Generator, colour: Colour, amount: float) -> Array:
    return np.asarray(colour, np.float32) + rng.normal(0, amount, 3).astype(np.float32)


def _spots(rng: Generator, image: Array, count: int, region: Array, colour: Colour = (255, 250, 240)) -> None:
    """Small reflections at random places of ``region`` (bool)."""
    places = np.argwhere(region)
    rows, columns = _grid(*region.shape)
    for y, x in places[rng.integers(len(places), size=count)]:
        height, width = rng.uniform(0.7, 2.2), rng.uniform(0.7, 3.2)
        _blend(image, np.exp(-(((rows - y) / height) ** 2) - ((columns - x) / width) ** 2), colour)


def _finished(rng: Generator, image: Array, grain: float) -> Array:
    """Sensor noise and 8 bits."""
    noisy = image + rng.normal(0, grain, image.shape).astype(np.float32)
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)


def _shape_word(aspect: float, lobes: float) -> str:
    if lobes > 0.12:
        return "irregular"
    return "round" if aspect < 1.25 else "oval"


# ---------------------------------------------------------------- colonoscopy


@dataclass(frozen=True)
class _Colonoscopy:
    """The look of one colonoscopy dataset."""

    mucosa: Colour
    polyps: dict[str, Colour]
    radius: tuple[float, float]  # share of the shorter side
    contrast: float  # opacity of the polyp's own colour
    relief: float  # depth of its shading
    folds: int
    second: float  # probability of a second polyp


_KVASIR = _Colonoscopy(
    mucosa=(196, 104, 86),
    polyps={"pink": (232, 150, 140), "red": (176, 48, 44), "white": (240, 212, 196), "yellow": (226, 182, 96)},
    radius=(0.16, 0.34),
    contrast=0.62,
    relief=0.34,
    folds=2,
    second=0.1,
)
_CLINICDB = _Colonoscopy(
    mucosa=(150, 108, 66),
    polyps={"pink": (222, 140, 128), "red": (182, 58, 50), "white": (228, 214, 190)},
    radius=(0.15, 0.32),
    contrast=0.8,
    relief=0.3,
    folds=3,
    second=0.0,
)
_BKAI = _Colonoscopy(
    mucosa=(206, 146, 130),
    polyps={"red": (186, 62, 58), "brown": (138, 78, 54), "pink": (236, 172, 164), "white": (246, 226, 214)},
    radius=(0.1, 0.24),
    contrast=0.58,
    relief=0.36,
    folds=3,
    second=0.2,
)
_NEOPLASTIC = ("red", "brown")


def _mucosa(rng: Generator, height: int, width: int, look: _Colonoscopy) -> Array:
    rows, columns = _grid(height, width)
    image = np.empty((height, width, 3), np.float32)
    image[:] = _jittered(rng, look.mucosa, 7)
    light = 1 + 0.13 * _noise(rng, height, width, 3) + 0.05 * _noise(rng, height, width, 12)
    for _ in range(look.folds):
        # A fold is a bright ridge with a shadow behind it, along a bent line.
        angle, bend = rng.uniform(0, np.pi), rng.uniform(-0.004, 0.004)
        across = (columns - width / 2) * np.cos(angle) + (rows - height / 2) * np.sin(angle)
        along = (rows - height / 2) * np.cos(angle) - (columns - width / 2) * np.sin(angle)
        position = across + bend * along**2 - rng.uniform(-0.45, 0.45) * min(height, width)
        breadth = rng.uniform(3, 7)
        light += 0.2 * np.exp(-((position / breadth) ** 2)) - 0.26 * np.exp(-(((position - breadth) / breadth) ** 2))
    image *= np.clip(light, 0.25, 1.5)[..., None]
    if rng.random() < 0.5:
        hole = _blob(
            rng, height, width, rng.uniform(0.12, 0.26) * min(height, width), rng.uniform(0.2, 0.8, 2), 1.3, 0.1
        )
        _blend(image, 0.85 * _ramp(hole.distance, 1.25, 0.6), (46, 22, 18))
    vessels = np.abs(_noise(rng, height, width, 7))
    _blend(image, 0.22 * _ramp(vessels, 0.09, 0.02), (150, 40, 36))
    return image


def _polyp(rng: Generator, image: Array, blob: _Blob, colour: Colour, look: _Colonoscopy) -> None:
    _blend(image, 0.5 * _ramp(blob.distance, 1.3, 1.0) * _ramp(blob.side, -0.3, 0.6), (60, 26, 22))
    height = np.sqrt(np.clip(1 - blob.distance**2, 0, 1))
    shade = 1 + look.relief * (height - 0.62) - 0.22 * blob.side
    texture = 1 + 0.05 * _noise(rng, *blob.distance.shape, 20)
    inside = _ramp(blob.distance, 1.06, 0.94)
    own = _jittered(rng, colour, 8) * (shade * texture)[..., None]
    _blend(image, look.contrast * inside, own)
    image *= 1 + (inside * (shade - 1))[..., None] * (1 - look.contrast)
    _spots(rng, image, int(rng.integers(1, 4)), blob.distance < 0.7)


def _colonoscopy(rng: Generator, height: int, width: int, look: _Colonoscopy, view: Array) -> Phantom:
    """One or two polyps in the field of view ``view`` (0..1); two are of one shape and usually of one colour."""
    image = _mucosa(rng, height, width, look)
    names = list(look.polyps)
    colour = names[rng.integers(len(names))]
    two = rng.random() < look.second
    irregular = rng.random() < 0.2
    aspect, lobes = (1.2, 0.16) if irregular else (rng.uniform(1, 1.8), 0.04)
    # Two of them lie on the two sides of the image.
    columns = [rng.uniform(0.28, 0.36), rng.uniform(0.64, 0.72)] if two else [rng.uniform(0.3, 0.7)]
    centres = [(rng.uniform(0.3, 0.7), column) for column in columns]
    largest = look.radius[0] * 1.2 if two else look.radius[1]
    masks, groups = [], []
    for index, centre in enumerate(centres):
        radius = rng.uniform(look.radius[0], largest) * min(height, width)
        blob = _blob(rng, height, width, radius, centre, aspect, lobes)
        name = names[rng.integers(len(names))] if index and rng.random() < 0.5 else colour
        _polyp(rng, image, blob, look.polyps[name], look)
        masks.append((blob.distance < 1) & (view > 0.5))
        groups.append("neoplastic" if name in _NEOPLASTIC else "non-neoplastic")
    _spots(rng, image, int(rng.integers(3, 9)), view > 0.5)
    image *= view[..., None]
    return Phantom(_finished(rng, image, 2.5), masks, _shape_word(aspect, lobes), colour, groups)


def _corners_cut(height: int, width: int, margin: tuple[float, float], cut: float) -> Array:
    """A rectangular field of view with its corners cut off, 0..1."""
    rows, columns = _grid(height, width)
    y, x = np.abs(rows - (height - 1) / 2) * 2 / height, np.abs(columns - (width - 1) / 2) * 2 / width
    inside = (y < 1 - margin[0]) & (x < 1 - margin[1]) & (y + x < 2 - cut)
    return inside.astype(np.float32)


def draw_kvasir(rng: Generator) -> Phantom:
    """Reddish mucosa, large polyps, corners cut off, sometimes the black inset of a position display."""
    width, height = int(rng.integers(124, 161)), int(rng.integers(100, 137))
    phantom_view = _corners_cut(height, width, (0.02, 0.02), 0.32)
    inset = rng.random() < 0.25
    if inset:
        phantom_view[int(0.72 * height) :, : int(0.28 * width)] = 0
    phantom = _colonoscopy(rng, height, width, _KVASIR, phantom_view)
    if inset:
        phantom.image[int(0.78 * height) : int(0.94 * height), 4 : int(0.22 * width)] = (20, 90, 40)
    return phantom


def draw_clinicdb(rng: Generator) -> Phantom:
    """Yellowish, darker frames of one size, 128 x 96, in a dark border."""
    height, width = 96, 128
    view = np.maximum(_corners_cut(height, width, (0.06, 0.12), 0.42), 0.06)
    return _colonoscopy(rng, height, width, _CLINICDB, view)


def another_frame(rng: Generator, phantom: Phantom) -> Phantom:
    """The scene of ``phantom`` a moment later: moved by a few pixels, lighter or darker."""
    move = tuple(rng.integers(-4, 5, 2))
    image = rng.uniform(0.9, 1.1) * shift(phantom.image.astype(np.float32), (*move, 0), order=1, mode="nearest")
    masks = [shift(mask.astype(np.uint8), move, order=0, mode="nearest") > 0 for mask in phantom.masks]
    return replace(phantom, image=_finished(rng, image, 2.5), masks=masks)


def draw_bkai(rng: Generator) -> Phantom:
    """Pale mucosa in a round field of view, smaller polyps, two in some; each neoplastic or not."""
    width, height = int(rng.integers(136, 161)), int(rng.integers(108, 125))
    rows, columns = _grid(height, width)
    distance = np.hypot((rows - height / 2) / (0.56 * height), (columns - width / 2) / (0.47 * width))
    return _colonoscopy(rng, height, width, _BKAI, _ramp(distance, 1.02, 0.98))


# ---------------------------------------------------------------- dermoscopy

_SKIN = ((228, 186, 164), (214, 168, 150), (236, 206, 190), (206, 170, 140))
_LESIONS = {"brown": (130, 78, 50), "dark": (66, 42, 40), "red": (176, 84, 72), "pink": (216, 132, 124)}
_STICKERS = ((40, 120, 200), (240, 150, 40), (90, 170, 90))


def draw_isic(rng: Generator) -> Phantom:
    """A pigmented lesion on skin, with hairs, dark corners and, in some, a coloured sticker at the edge."""
    width, height = int(rng.integers(116, 161)), int(rng.integers(92, 125))
    rows, columns = _grid(height, width)
    image = np.empty((height, width, 3), np.float32)
    image[:] = _jittered(rng, _SKIN[rng.integers(len(_SKIN))], 7)
    image *= (1 + 0.05 * _noise(rng, height, width, 3) + 0.035 * _noise(rng, height, width, 30))[..., None]
    for _ in range(int(rng.integers(0, 5))):
        # Freckles and redness: like a lesion, but faint or tiny.
        mole = _blob(rng, height, width, rng.uniform(1.5, 5), rng.uniform(0, 1, 2), 1.2, 0.05)
        _blend(image, rng.uniform(0.2, 0.6) * _ramp(mole.distance, 1.3, 0.7), (176, 110, 90))

    colour = list(_LESIONS)[rng.integers(len(_LESIONS))]
    lobes, aspect = rng.choice([0.06, 0.18]), rng.uniform(1, 1.7)
    radius = rng.uniform(0.16, 0.42) * min(height, width)
    blob = _blob(rng, height, width, radius, rng.uniform(0.4, 0.6, 2), aspect, float(lobes))
    softness = rng.uniform(0.05, 0.22)
    texture = np.clip(0.75 + 0.18 * _noise(rng, height, width, 10) + 0.12 * _noise(rng, height, width, 26), 0.25, 1)
    _blend(image, texture * _ramp(blob.distance, 1 + softness, 1 - softness), _jittered(rng, _LESIONS[colour], 10))

    for _ in range(int(rng.choice([0, 0, 3, 6]))):
        angle, bend = rng.uniform(0, np.pi), rng.uniform(-0.006, 0.006)
        across = (columns - rng.uniform(0, width)) * np.cos(angle) + (rows - rng.uniform(0, height)) * np.sin(angle)
        along = rows * np.cos(angle) - columns * np.sin(angle)
        _blend(image, 0.8 * np.exp(-(((across + bend * along**2) / 0.9) ** 2)), (52, 36, 32))
    if rng.random() < 0.25:
        corner = rng.choice([-0.02, 1.02], 2)
        sticker = _blob(rng, height, width, 0.3 * min(height, width), corner, 1.0, 0.0)
        _blend(image, _ramp(sticker.distance, 1.03, 0.97), _STICKERS[rng.integers(len(_STICKERS))])
    if rng.random() < 0.4:
        distance = np.hypot((rows - height / 2) / (0.6 * height), (columns - width / 2) / (0.6 * width))
        _blend(image, _ramp(distance, 0.98, 1.12), (14, 10, 10))
    return Phantom(_finished(rng, image, 2), [blob.distance < 1], _shape_word(aspect, float(lobes)), colour)


# ---------------------------------------------------------------- breast ultrasound


def draw_busi(rng: Generator, group: str, two: bool) -> Phantom:
    """A speckled scan: skin, fat, tissue, muscle; ``group`` is benign, malignant or normal.

    Benign masses are smooth and brighten what lies below, malignant ones are lobed and cast a shadow. ``two`` says
    whether there are two masses.
    """
    height, width = int(rng.integers(92, 149)), int(rng.integers(104, 161))
    rows, columns = _grid(height, width)
    depth = rows / height + 0.03 * _noise(rng, height, width, 3)
    echo = 0.46 + 0.12 * _noise(rng, height, width, 5) + 0.06 * _noise(rng, height, width, 14)
    echo += 0.4 * _ramp(depth, 0.1, 0.03) + 0.18 * np.exp(-(((depth - rng.uniform(0.7, 0.85)) / 0.03) ** 2))
    echo += 0.1 * np.sin(depth * rng.uniform(30, 60)) * _ramp(depth, 0.5, 0.75)
    for _ in range(int(rng.integers(2, 5))):
        # Fat lobules: darkish, flat, faint.
        lobule = _blob(rng, height, width, rng.uniform(0.06, 0.13) * height, rng.uniform(0.1, 0.9, 2), 2.2, 0.1)
        echo -= rng.uniform(0.06, 0.16) * _ramp(lobule.distance, 1.3, 0.8)
    if rng.random() < 0.4:
        # A shadow of poor contact, without a mass.
        centre = rng.uniform(0, width)
        echo -= 0.18 * np.exp(-(((columns - centre) / (0.07 * width)) ** 2)) * _ramp(depth, 0.1, 0.3)

    malignant = group == "malignant"
    first = np.array([rng.uniform(0.35, 0.55), rng.uniform(0.3, 0.7)])
    centres = [first, np.array([rng.uniform(0.35, 0.6), (first[1] + 0.45) % 1 * 0.8 + 0.1])] if two else [first]
    aspect, lobes = (rng.uniform(1, 1.4), 0.17) if malignant else (rng.uniform(1, 1.9), 0.03)
    masks = []
    for centre in centres if group != "normal" else []:
        radius = (rng.uniform(0.09, 0.13) if two else rng.uniform(0.12, 0.27)) * min(height, width)
        blob = _blob(rng, height, width, radius, centre, aspect, lobes)
        below = np.exp(-(((columns - centre[1] * width) / (0.8 * radius)) ** 2)) * _ramp(
            rows, centre[0] * height, centre[0] * height + 1.2 * radius
        )
        echo += (-0.24 if malignant else 0.14) * below
        softness = 0.16 if malignant else 0.07
        dark = 0.16 + 0.05 * _noise(rng, height, width, 12)
        inside = 0.88 * _ramp(blob.distance, 1 + softness, 1 - softness)
        echo += inside * (dark - echo)
        masks.append((blob.distance < 1) & ~(masks[0] if masks else False))
    # Rayleigh speckle whose grains are wider than deep, as a beam's are.
    grains = rng.rayleigh(0.8, (height, (width + 1) // 2)).astype(np.float32)
    speckle = np.asarray(Image.fromarray(grains).resize((width, height), Image.Resampling.BILINEAR))
    grey = 255 * np.clip(echo, 0.02, 1) * (0.35 + 0.65 * speckle) * (1.06 - 0.3 * depth)
    image = np.clip(np.rint(grey), 0, 255).astype(np.uint8)
    return Phantom(
        np.repeat(image[..., None], 3, axis=2),
        masks,
        _shape_word(aspect, lobes) if masks else "",
        "dark" if masks else "",
        [group] * len(masks),
    )


# ---------------------------------------------------------------- pets

BREEDS = {
    "Abyssinian": ("cat", (190, 130, 80)),
    "Russian_Blue": ("cat", (110, 120, 140)),
    "beagle": ("dog", (200, 160, 110)),
    "newfoundland": ("dog", (50, 40, 40)),
}
"""Species and colour of the fur; cats have pointed ears."""


def draw_pet(rng: Generator, breed: str) -> Phantom:
    """An animal of one of :data:`BREEDS` before a wall and a floor; its mask is head, ears and body."""
    species, fur = BREEDS[breed]
    width, height = int(rng.integers(104, 161)), int(rng.integers(92, 149))
    rows, columns = _grid(height, width)
    image = np.empty((height, width, 3), np.float32)
    image[:] = rng.uniform(90, 230, 3)
    _blend(image, _ramp(rows, rng.uniform(0.5, 0.8) * height, height), rng.uniform(60, 200, 3))
    image *= (1 + 0.08 * _noise(rng, height, width, 6))[..., None]
    side = min(height, width)
    size, middle = rng.uniform(0.16, 0.27) * side, rng.uniform(0.35, 0.65)
    top = rng.uniform(0.3, 0.42)
    body = _blob(rng, height, width, 1.15 * size, (top + 1.35 * size / height, middle), 1.2, 0.03).distance
    head = _blob(rng, height, width, 0.8 * size, (top, middle), 1.1, 0.02).distance
    parts = [body < 1, head < 1]
    for turn in (-1, 1):
        x, y = columns - middle * width - turn * 0.55 * size, rows - top * height + 0.75 * size
        long, wide = (0.75, 0.35) if species == "cat" else (0.45, 0.42)
        ear = np.abs(x) / (wide * size) + np.abs(y) / (long * size)
        parts.append((ear if species == "cat" else np.hypot(x, y) / (0.5 * size)) < 1)
    mask = np.logical_or.reduce(parts)
    texture = 1 + 0.12 * _noise(rng, height, width, 24)
    _blend(image, mask.astype(np.float32), _jittered(rng, fur, 10) * texture[..., None])
    for turn in (-1, 1):
        eye = np.hypot(columns - middle * width - turn * 0.3 * size, rows - top * height + 0.1 * size)
        _blend(image, _ramp(eye, 0.16 * size, 0.1 * size), (20, 30, 20))
    return Phantom(_finished(rng, image, 3), [mask], groups=[breed])
