"""Serial bottlenecks: Houlsby et al. (ICML 2019), after both sub-layers; Pfeiffer et al. (EACL 2021), after the MLP."""

from typing import Literal

from pydantic import Field

from pipeline.models.kinds import LayerSettings, register


@register("houlsby")
class Houlsby(LayerSettings):
    """625,560 trained parameters at full size: the width that comes closest to 613,297. Starts close to zero-shot."""

    kind: Literal["houlsby"] = "houlsby"
    width: int = Field(17, ge=1, le=8192, description="Bottleneck width, matched to the telescopic total [studied]")
    norms: bool = Field(
        True, description="Whether the adapted layers' norms are trained too, as in the paper [studied]"
    )

    def attach(self, segmenter) -> None:
        from pipeline.models.adapters import Bottleneck

        for layer in self.layers():
            for part in ("attention", "mlp"):
                adapter = Bottleneck(segmenter.features().at(layer), self.width, "gelu", start=1e-3)
                segmenter.add_adapter(f"{layer}_{part}", adapter)
            for norm in ("norm1", "norm2") if self.norms else ():
                segmenter.operations()[f"{layer}_{norm}"].requires_grad_(True)


@register("pfeiffer")
class Pfeiffer(LayerSettings):
    """617,136 trained parameters at full size: the width that comes closest to 613,297. Starts close to zero-shot."""

    kind: Literal["pfeiffer"] = "pfeiffer"
    width: int = Field(36, ge=1, le=8192, description="Bottleneck width, matched to the telescopic total [studied]")

    def attach(self, segmenter) -> None:
        from pipeline.models.adapters import Bottleneck

        for layer in self.layers():
            adapter = Bottleneck(segmenter.features().at(layer), self.width, start=1e-3)
            segmenter.add_adapter(f"{layer}_mlp", adapter)
