"""Colours of all figures, and the colour and marker of each variant."""

import zlib
from collections.abc import Iterable
from typing import NamedTuple

# Okabe and Ito, "Color Universal Design" (2008); its yellow is too faint on white paper and drawn on photographs only.
BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
BLUE, VERMILLION, PURPLE = "#0072B2", "#D55E00", "#CC79A7"
YELLOW = "#F0E442"
GREY = "#767676"
LIGHT_GREY = "#D9D9D9"


class Mark(NamedTuple):
    """Colour and marker of one variant."""

    colour: str
    marker: str


_FIXED = {
    "telescopic": Mark(VERMILLION, "o"),
    "uniform": Mark(BLUE, "s"),
    "end_to_end": Mark(BLACK, "D"),
    "decoder_only": Mark(GREY, "P"),
    "zero_shot": Mark(SKY, "X"),
    "vlsm_dense": Mark(GREEN, "^"),
    "vlsm_shallow": Mark(ORANGE, "v"),
    "lora": Mark(PURPLE, ">"),
    "cris": Mark(GREY, "h"),
    "san": Mark(GREY, "*"),
    "imedsam_lora": Mark(GREY, "<"),
}
# Vermillion is telescopic's alone, and black end-to-end's.
_OTHERS = [
    Mark(colour, marker)
    for marker in ("o", "s", "^", "D", "v", "P", "X", "<", ">", "h")
    for colour in (BLUE, GREEN, ORANGE, PURPLE, SKY, GREY)
]


def marks(variants: Iterable[str]) -> dict[str, Mark]:
    """Colour and marker of each of ``variants``, no two alike.

    The study's methods have the same ones in every figure; any other name gets those that its checksum picks, moved on
    only where two names of one figure would meet.
    """
    variants = list(variants)
    result = {variant: _FIXED[variant] for variant in variants if variant in _FIXED}
    for variant in variants:
        if variant not in result:
            start = zlib.crc32(variant.encode()) % len(_OTHERS)
            order = [*_OTHERS[start:], *_OTHERS[:start]]
            result[variant] = next((mark for mark in order if mark not in result.values()), order[0])
    return result
