"""Fingerprints of images, and the duplicates and near duplicates that they reveal."""

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

THUMBNAIL = 32
"""Side of the grey thumbnail on which candidates are compared, pixels."""
HASHED = 32
"""Side of the image of which the perceptual hash is taken, pixels."""
COSINES = np.cos(np.pi * np.outer(np.arange(8), 2 * np.arange(HASHED) + 1) / (2 * HASHED))
HASH_DISTANCE = 10
"""Bits of 64 in which the perceptual hashes of two candidates may differ."""
SAME_SCENE = 0.5
"""Least correlation at which two successive frames count as one scene; one random pair in twelve reaches it."""
SIMILARITY = 0.95
"""Least correlation of two thumbnails, the mean of the others subtracted, at which they count as near duplicates."""


@dataclass(frozen=True)
class Fingerprint:
    """What identifies an image.

    Attributes:
        pixels: SHA-256 of size and RGB values.
        phash: 64-bit perceptual hash.
        thumbnail: (32, 32) uint8 grey levels.
    """

    pixels: str
    phash: int
    thumbnail: np.ndarray

    def to_json(self) -> dict[str, str]:
        """As strings; the inverse of :meth:`from_json`."""
        thumbnail = base64.b64encode(self.thumbnail.tobytes()).decode("ascii")
        return {"pixels": self.pixels, "phash": f"{self.phash:016x}", "thumbnail": thumbnail}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Fingerprint":
        thumbnail = np.frombuffer(base64.b64decode(value["thumbnail"]), dtype=np.uint8)
        return cls(value["pixels"], int(value["phash"], 16), thumbnail.reshape(THUMBNAIL, THUMBNAIL))


@dataclass(frozen=True)
class Pair:
    """Two cases with the same pixels ("exact") or nearly ("near"), and the similarity of their thumbnails, -1..1."""

    first: str
    second: str
    kind: str
    similarity: float


def _phash(grey: Image.Image) -> int:
    """The perceptual hash of Krawetz, as in the package imagehash: signs of the 8 x 8 lowest frequencies."""
    levels = np.asarray(grey.resize((HASHED, HASHED), Image.Resampling.LANCZOS), dtype=np.float64)
    lowest = COSINES @ levels @ COSINES.T
    return int.from_bytes(np.packbits(lowest > np.median(lowest)).tobytes(), "big")


def fingerprint(image: Image.Image) -> Fingerprint:
    """The fingerprint of an image of mode RGB or L, the same in both if it is grey."""
    grey = image if image.mode == "L" else image.convert("L")
    pixels = hashlib.sha256(f"{image.width}x{image.height} RGB".encode())
    pixels.update(image.convert("RGB").tobytes() if image.mode == "L" else image.tobytes())
    thumbnail = np.asarray(grey.resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX))
    return Fingerprint(pixels.hexdigest(), _phash(grey), thumbnail)


class Comparison:
    """Similarity of images of one dataset.

    Endoscopes leave the same black frame on every image, which alone correlates two of them at 0.9. So the mean of all
    *other* images is subtracted from two thumbnails before they are correlated: what counts is what these two share and
    the others do not.
    """

    def __init__(self, fingerprints: Mapping[str, Fingerprint]):
        self._index = {case: index for index, case in enumerate(fingerprints)}
        levels = np.stack([value.thumbnail.reshape(-1).astype(np.float64) for value in fingerprints.values()])
        self._levels = self._normalised(levels)
        self._sum = self._levels.sum(axis=0)

    @staticmethod
    def _normalised(rows: np.ndarray) -> np.ndarray:
        rows = rows - rows.mean(axis=-1, keepdims=True)
        norm = np.linalg.norm(rows, axis=-1, keepdims=True)
        return np.divide(rows, norm, out=np.zeros_like(rows), where=norm > 0)

    def similarity(self, first: str, second: str) -> float:
        """Correlation of two cases' thumbnails, -1..1, the others' mean subtracted."""
        pair = self._levels[[self._index[first], self._index[second]]]
        others = len(self._levels) - 2
        mean = (self._sum - pair.sum(axis=0)) / others if others else 0.0
        one, two = self._normalised(pair - mean)
        # The last bits depend on the processor, and thresholds must not.
        return round(float(one @ two), 9)


def find_pairs(fingerprints: Mapping[str, Fingerprint]) -> list[Pair]:
    """All pairs of cases with equal pixels, and all near duplicates: alike by hash and confirmed on the thumbnails."""
    cases = list(fingerprints)
    if len(cases) < 2:
        return []
    comparison = Comparison(fingerprints)
    hashes = np.array([fingerprints[case].phash for case in cases], dtype=np.uint64)
    pairs = []
    for index, case in enumerate(cases):
        distances = np.bitwise_count(hashes[index + 1 :] ^ hashes[index])
        for offset in np.flatnonzero(distances <= HASH_DISTANCE):
            other = cases[index + 1 + offset]
            similarity = comparison.similarity(case, other)
            if fingerprints[case].pixels == fingerprints[other].pixels:
                pairs.append(Pair(case, other, "exact", similarity))
            elif similarity >= SIMILARITY:
                pairs.append(Pair(case, other, "near", similarity))
    return pairs


def find_scenes(fingerprints: Mapping[str, Fingerprint]) -> list[tuple[str, str]]:
    """Successive video frames that show the same scene; cases are the frames' numbers."""
    comparison = Comparison(fingerprints)
    successive = [(case, str(int(case) + 1)) for case in sorted(fingerprints, key=int)]
    return [
        (one, two) for one, two in successive if two in fingerprints and comparison.similarity(one, two) >= SAME_SCENE
    ]
