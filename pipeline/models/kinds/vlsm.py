"""VLSM-Adapter (github.com/naamiinepal/vlsm-adapter): dense and shallow adapters in CLIPSeg."""

from typing import Literal

from pydantic import Field

from pipeline.models.kinds import Branches, TextLayers, VariantSettings, VisionLayers, register


@register("vlsm_dense")
class VlsmDense(VariantSettings):
    """Two adapters in each adapted layer of both encoders; 3,237,376 parameters at full size."""

    kind: Literal["vlsm_dense"] = "vlsm_dense"
    branches: Branches = Field(
        ["vision", "text", "conditional"], min_length=1, description="Adapted branches [studied]"
    )
    width: int = Field(64, ge=1, le=8192, description="Bottleneck width in both encoders")
    conditional_width: int = Field(256, ge=1, le=8192, description="Width of the conditional adapter")
    vision_layers: VisionLayers = Field(list(range(1, 10)), min_length=1, description="Adapted vision layers [studied]")
    text_layers: TextLayers = Field(list(range(1, 10)), min_length=1, description="Adapted text layers [studied]")

    def attach(self, segmenter) -> None:
        from pipeline.models.adapters import VlsmAdapter

        features = segmenter.features()
        for encoder, layers in (("vision", self.vision_layers), ("text", self.text_layers)):
            for layer in layers if encoder in self.branches else []:
                for part in ("attention", "mlp"):
                    place = f"{encoder}_{layer}_{part}"
                    segmenter.add_adapter(place, VlsmAdapter(features.at(place), self.width))
        if "conditional" in self.branches:
            segmenter.add_adapter("conditional", VlsmAdapter(features.conditional, self.conditional_width))


@register("vlsm_shallow")
class VlsmShallow(VariantSettings):
    """Adapters on the extracted states only; 4,201,984 parameters at full size."""

    kind: Literal["vlsm_shallow"] = "vlsm_shallow"
    width: int = Field(512, ge=1, le=8192, description="Bottleneck width")
    conditional_width: int = Field(256, ge=1, le=8192, description="Width of the conditional adapter")

    def attach(self, segmenter) -> None:
        from pipeline.models.adapters import VlsmAdapter

        features = segmenter.features()
        for index in range(len(segmenter.clipseg.config.extract_layers)):
            segmenter.add_adapter(f"vision_extract_{index}", VlsmAdapter(features.vision, self.width))
            segmenter.add_adapter(f"text_extract_{index}", VlsmAdapter(features.text, self.width))
        segmenter.add_adapter("conditional", VlsmAdapter(features.conditional, self.conditional_width))
