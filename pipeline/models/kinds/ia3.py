"""IA3 (Liu et al., NeurIPS 2022), by peft: learned scales of keys, values and what enters an MLP's second linear."""

from typing import Literal

from pydantic import Field

from pipeline.models.kinds import Parts, VariantSettings, register


@register("ia3")
class IA3(VariantSettings):
    """89,472 trained parameters at full size, its natural size. Starts as zero-shot."""

    kind: Literal["ia3"] = "ia3"
    parts: Parts = Field(["vision", "text", "decoder"], min_length=1, description="Parts of CLIPSeg [studied]")

    def attach(self, segmenter) -> None:
        from peft import IA3Config

        from pipeline.models.injection import inject, linears

        layers = [place.removesuffix("_fc2") for place in segmenter.operations() if place.endswith("_fc2")]
        names = linears((layer for layer in layers if layer.startswith(tuple(self.parts))), ["k_proj", "v_proj", "fc2"])
        inject(IA3Config(feedforward_modules={"fc2"}), segmenter, names)
