"""AdaptFormer (Chen et al., NeurIPS 2022): scaled bottlenecks beside the MLPs."""

from typing import Literal

from pydantic import Field

from pipeline.models.kinds import LayerSettings, register


@register("adaptformer")
class AdaptFormer(LayerSettings):
    """617,136 trained parameters at full size: the width that comes closest to 613,297. Starts as zero-shot."""

    kind: Literal["adaptformer"] = "adaptformer"
    width: int = Field(36, ge=1, le=8192, description="Bottleneck width, matched to the telescopic total [studied]")
    scale: float = Field(0.1, gt=0, description="Factor of what the bottleneck gives [studied]")

    def attach(self, segmenter) -> None:
        from pipeline.models.adapters import Bottleneck

        for layer in self.layers():
            adapter = Bottleneck(segmenter.features().at(layer), self.width, scale=self.scale, residual=False)
            segmenter.add_adapter(f"{layer}_mlp_beside", adapter)
