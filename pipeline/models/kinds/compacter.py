"""Compacter (Karimi Mahabadi et al., NeurIPS 2021): bottlenecks whose weights are sums of Kronecker products."""

from typing import Literal

from pydantic import Field, model_validator

from pipeline.models.kinds import LayerSettings, register


@register("compacter")
class Compacter(LayerSettings):
    """52,480 trained parameters at full size, its natural size. Starts as zero-shot.

    The authors start from small random weights. Here the last factors are zero, so that nothing is changed at first.
    """

    kind: Literal["compacter"] = "compacter"
    width: int = Field(24, ge=1, le=8192, description="Bottleneck width [studied]")
    products: int = Field(4, ge=1, le=64, description="Kronecker products in a weight; divides all widths [studied]")
    rank: int = Field(1, ge=1, le=8192, description="Rank of the products' second factors [studied]")

    @model_validator(mode="after")
    def _divisible(self) -> "Compacter":
        if self.width % self.products:
            raise ValueError(f"width {self.width} is no multiple of products {self.products}")
        return self

    def attach(self, segmenter) -> None:
        from pipeline.models.adapters import KroneckerBottleneck, KroneckerRules

        rules = KroneckerRules(self.products)
        for layer in self.layers():
            for part in ("attention", "mlp"):
                adapter = KroneckerBottleneck(segmenter.features().at(layer), self.width, rules, self.rank)
                segmenter.add_adapter(f"{layer}_{part}", adapter)
