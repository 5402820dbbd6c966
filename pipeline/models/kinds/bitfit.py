"""BitFit (Ben Zaken et al., ACL 2022): only biases are trained."""

from typing import Literal

from pydantic import Field

from pipeline.models.kinds import Parts, VariantSettings, prefix, register


@register("bitfit")
class BitFit(VariantSettings):
    """161,249 trained parameters at full size, its natural size. Starts as zero-shot."""

    kind: Literal["bitfit"] = "bitfit"
    parts: Parts = Field(["vision", "text", "decoder"], min_length=1, description="Parts of CLIPSeg [studied]")

    def attach(self, segmenter) -> None:
        segmenter.unfreeze(rf"{prefix(self.parts)}.*bias")
