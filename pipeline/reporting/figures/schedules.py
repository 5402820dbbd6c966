"""Where the adapters of a variant stand and how wide they are, from its settings alone."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from pydantic import ValidationError

from pipeline.models.kinds import parse_variant
from pipeline.runtime.errors import PipelineError

LAYERS = 12
"""Layers of each encoder."""
READ_LAYERS = (4, 7, 10)
"""Vision layers whose outputs the decoder reads, counted from 1 (extract_layers 3, 6, 9, counted from 0)."""


class Schedule(NamedTuple):
    """Widths by layer (counted from 1) of the adapters after attention and after the MLP; None: no such adapter."""

    vision: dict[str, dict[int, int]]
    text: dict[str, dict[int, int]]
    conditional: int | None

    def widths(self) -> list[int]:
        """All vision widths, of both sub-layers."""
        return [width for place in self.vision.values() for width in place.values()]


def schedule(variant: str, settings: Mapping[str, Any]) -> Schedule | None:
    """The schedule of ``variant``; None for a kind that has no telescopic adapters (LoRA, the decoder, ...).

    Args:
        variant: its name, for errors.
        settings: its entry in ``variants`` of config.yaml.

    Raises:
        PipelineError: the settings are not valid.
    """
    try:
        parsed = parse_variant(dict(settings))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "settings"
        raise PipelineError(f"--settings: {variant}: {place}: {first['msg']}") from None
    except ValueError as error:
        raise PipelineError(f"--settings: {variant}: {error}") from None
    if parsed.kind != "telescopic":
        return None
    vision = {place: {} for place in ("attention", "mlp")}
    text = {place: {} for place in ("attention", "mlp")}
    text_width = parsed.text_width or max(8, parsed.base_dimension // 4)
    for place in parsed.placement:
        if "vision" in parsed.branches:
            vision[place] = dict(zip(parsed.vision_layers, parsed.vision_widths(), strict=True))
        if "text" in parsed.branches:
            text[place] = dict.fromkeys(parsed.text_layers, text_width)
    conditional = None
    if "conditional" in parsed.branches:
        conditional = parsed.conditional_width or max(16, parsed.base_dimension // 8)
    return Schedule(vision, text, conditional)
