"""LayerNorm tuning (Zhao et al., ICLR 2024; Basu et al., AAAI 2024): only scales and shifts of norms are trained."""

from typing import Literal

from pydantic import Field

from pipeline.models.kinds import Parts, VariantSettings, prefix, register


@register("layer_norm")
class LayerNormTuning(VariantSettings):
    """58,624 trained parameters at full size, its natural size. Starts as zero-shot."""

    kind: Literal["layer_norm"] = "layer_norm"
    parts: Parts = Field(["vision", "text", "decoder"], min_length=1, description="Parts of CLIPSeg [studied]")

    def attach(self, segmenter) -> None:
        segmenter.unfreeze(rf"{prefix(self.parts)}.*(layer_norm|layrnorm)\d?\.(weight|bias)")
