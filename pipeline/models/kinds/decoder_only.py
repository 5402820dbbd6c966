"""CLIPSeg's decoder trained, encoders frozen: what the reference's "end-to-end" run really trains."""

from typing import Literal

from pipeline.models.kinds import VariantSettings, register


@register("decoder_only")
class DecoderOnly(VariantSettings):
    """1,127,009 trained parameters at full size."""

    kind: Literal["decoder_only"] = "decoder_only"

    def attach(self, segmenter) -> None:
        segmenter.clipseg.decoder.requires_grad_(True)
