"""SSF (Lian et al., NeurIPS 2022): a learned scale and shift of what each norm and linear gives, by feature."""

from typing import Literal

from pydantic import Field

from pipeline.models.kinds import Parts, VariantSettings, register


@register("ssf")
class SSF(VariantSettings):
    """322,304 trained parameters at full size, its natural size. Starts as zero-shot."""

    kind: Literal["ssf"] = "ssf"
    parts: Parts = Field(["vision", "text", "decoder"], min_length=1, description="Parts of CLIPSeg [studied]")

    def attach(self, segmenter) -> None:
        from pipeline.models.adapters import ScaleShift

        for place, module in segmenter.operations().items():
            if place.startswith(tuple(self.parts)):
                segmenter.add_adapter(place, ScaleShift(module.weight.shape[0]))
