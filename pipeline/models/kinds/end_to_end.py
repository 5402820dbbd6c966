"""All of CLIPSeg trained, with gradients that reach both encoders."""

from typing import Literal

from pipeline.models.kinds import VariantSettings, register


@register("end_to_end")
class EndToEnd(VariantSettings):
    """150,747,746 parameters at full size; those that never influence the mask stay frozen."""

    kind: Literal["end_to_end"] = "end_to_end"

    def attach(self, segmenter) -> None:
        for parameter in segmenter.influential_parameters().values():
            parameter.requires_grad_(True)

    def trainable_parameters(self, segmenter) -> int:
        # As the papers count: the whole model, whether or not a gradient can reach it.
        return sum(value.numel() for value in segmenter.parameters())
