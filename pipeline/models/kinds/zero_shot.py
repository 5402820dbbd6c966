"""Frozen CLIPSeg, as pretrained."""

from typing import Literal

from pipeline.models.kinds import VariantSettings, register


@register("zero_shot")
class ZeroShot(VariantSettings):
    """Nothing is trained."""

    kind: Literal["zero_shot"] = "zero_shot"

    def attach(self, segmenter) -> None:
        pass
