"""LoRA in the attention projections of CLIPSeg's encoders, injected by peft."""

import re
from typing import TYPE_CHECKING

from peft import LoraConfig, inject_adapter_in_model
from transformers import CLIPSegForImageSegmentation

if TYPE_CHECKING:
    from pipeline.models.kinds.lora import Lora


def target_pattern(settings: "Lora") -> str:
    """A regular expression, anchored by peft's full match, for the projections that get an update."""

    def layers(numbers: list[int]) -> str:
        return "|".join(str(number - 1) for number in numbers)

    encoders = [
        rf"{encoder}_model\.encoder\.layers\.({layers(numbers)})"
        for encoder, numbers in (("vision", settings.vision_layers), ("text", settings.text_layers))
        if numbers
    ]
    return rf"clip\.({'|'.join(encoders)})\.self_attn\.({'|'.join(settings.projections)})"


def inject_lora(clipseg: CLIPSegForImageSegmentation, settings: "Lora") -> None:
    """Put low-rank updates into ``clipseg``; only they are trainable afterwards.

    Raises:
        ValueError: the pattern did not match exactly the modules that the settings name.
    """
    pattern = target_pattern(settings)
    matched = [name for name, _ in clipseg.named_modules() if re.fullmatch(pattern, name)]
    expected = (len(settings.vision_layers) + len(settings.text_layers)) * len(settings.projections)
    if len(matched) != expected:
        raise ValueError(f"lora: {len(matched)} modules match {pattern!r}, but the settings name {expected}")
    config = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.scale * settings.rank,
        lora_dropout=settings.dropout,
        target_modules=pattern,
        bias="none",
    )
    inject_adapter_in_model(config, clipseg)
