"""A linear probe: the last layer of CLIPSeg's decoder, which maps features to logits (Alain & Bengio, 2016)."""

from typing import Literal

from pipeline.models.kinds import VariantSettings, register


@register("linear_probe")
class LinearProbe(VariantSettings):
    """513 trained parameters at full size, its natural size. Starts as zero-shot."""

    kind: Literal["linear_probe"] = "linear_probe"

    def attach(self, segmenter) -> None:
        segmenter.clipseg.decoder.transposed_convolution[-1].requires_grad_(True)
