"""LoRA (peft) on the attention projections of the layers that Telescopic Adapters adapt."""

from typing import Literal

from pydantic import Field

from pipeline.models.kinds import Projections, TextLayers, VariantSettings, VisionLayers, register


@register("lora")
class Lora(VariantSettings):
    """Low-rank updates; the default rank comes closest to 613,297 parameters at full size."""

    kind: Literal["lora"] = "lora"
    rank: int = Field(9, ge=1, description="Rank of the update, matched to the telescopic total [studied]")
    scale: float = Field(1.0, gt=0, description="lora_alpha / rank")
    dropout: float = Field(0.0, ge=0, lt=1, description="Dropout before the low-rank update")
    projections: Projections = Field(["q_proj", "k_proj", "v_proj", "out_proj"], min_length=1)
    vision_layers: VisionLayers = Field(list(range(1, 10)), description="Adapted vision layers [studied]")
    text_layers: TextLayers = Field([10, 11, 12], description="Adapted text layers [studied]")

    def attach(self, segmenter) -> None:
        from pipeline.models.lora import inject_lora

        inject_lora(segmenter.clipseg, self)
