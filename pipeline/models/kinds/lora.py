"""LoRA (peft) on the attention projections of the layers that Telescopic Adapters adapt."""

import re
from typing import Literal

from pydantic import Field

from pipeline.models.kinds import Projections, TextLayers, VariantSettings, VisionLayers, register


@register("lora")
class Lora(VariantSettings):
    """Low-rank updates; the default rank comes closest to 613,297 parameters at full size."""

    kind: Literal["lora"] = "lora"
    rank: int = Field(9, ge=1, le=8192, description="Rank of the update, matched to the telescopic total [studied]")
    scale: float = Field(1.0, gt=0, description="lora_alpha / rank")
    dropout: float = Field(0.0, ge=0, lt=1, description="Dropout before the low-rank update")
    projections: Projections = Field(["q_proj", "k_proj", "v_proj", "out_proj"], min_length=1)
    vision_layers: VisionLayers = Field(list(range(1, 10)), description="Adapted vision layers [studied]")
    text_layers: TextLayers = Field([10, 11, 12], description="Adapted text layers [studied]")

    def target_pattern(self) -> str:
        """A regular expression for the full names of the projections in CLIPSeg that get an update."""
        encoders = [
            rf"{encoder}_model\.encoder\.layers\.({'|'.join(str(layer - 1) for layer in layers)})"
            for encoder, layers in (("vision", self.vision_layers), ("text", self.text_layers))
            if layers
        ]
        return rf"clip\.({'|'.join(encoders)})\.self_attn\.({'|'.join(self.projections)})"

    def attach(self, segmenter) -> None:
        """Put low-rank updates into the backbone; only they are trainable afterwards.

        Raises:
            ValueError: the backbone does not have exactly the projections that the settings name.
        """
        from peft import LoraConfig, inject_adapter_in_model

        pattern = self.target_pattern()
        matched = [name for name, _ in segmenter.clipseg.named_modules() if re.fullmatch(pattern, name)]
        expected = (len(self.vision_layers) + len(self.text_layers)) * len(self.projections)
        if len(matched) != expected:
            raise ValueError(f"lora: {len(matched)} modules match {pattern!r}, but the settings name {expected}")
        config = LoraConfig(
            r=self.rank,
            lora_alpha=self.scale * self.rank,
            lora_dropout=self.dropout,
            target_modules=pattern,
            bias="none",
        )
        inject_adapter_in_model(config, segmenter.clipseg)
