"""LoRA (Hu et al., ICLR 2022) and DoRA (Liu et al., ICML 2024), by peft, in the layers of Telescopic Adapters."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from pipeline.models.kinds import LayerSettings, each_once, register

ATTENTION = ("q_proj", "k_proj", "v_proj", "out_proj")
Linears = Annotated[list[Literal[*ATTENTION, "fc1", "fc2"]], AfterValidator(each_once)]


@register("lora")
class Lora(LayerSettings):
    """Low-rank updates; the default rank comes closest to 613,297 parameters at full size."""

    kind: Literal["lora"] = "lora"
    rank: int = Field(9, ge=1, le=8192, description="Rank of the update, matched to the telescopic total [studied]")
    scale: float = Field(1.0, gt=0, description="lora_alpha / rank")
    dropout: float = Field(0.0, ge=0, lt=1, description="Dropout before the low-rank update")
    dora: bool = Field(False, description="Whether a weight's norms by row are trained apart, as in DoRA [studied]")
    projections: Linears = Field(list(ATTENTION), min_length=1, description="Linears that are updated [studied]")

    def attach(self, segmenter) -> None:
        """Put low-rank updates into the backbone.

        Raises:
            ValueError: the backbone does not have exactly the linears that the settings name.
        """
        from peft import LoraConfig

        from pipeline.models.injection import inject, linears

        config = LoraConfig(
            r=self.rank, lora_alpha=self.scale * self.rank, lora_dropout=self.dropout, use_dora=self.dora, bias="none"
        )
        inject(config, segmenter, linears(self.layers(), self.projections))
