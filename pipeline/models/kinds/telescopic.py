"""Telescopic Adapters (arXiv 2512.13855, authors' released module) and all their ablations."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from pipeline.models.kinds import Branches, SubLayers, TextLayers, VariantSettings, VisionLayers, register
from pipeline.models.widths import SCHEDULES, Features, check_widths, resolve_widths

Width = Annotated[int, Field(ge=8, le=8192)]


@register("telescopic")
class Telescopic(VariantSettings):
    """The defaults are the paper's 613,297 parameters. Layers are counted from 1."""

    kind: Literal["telescopic"] = "telescopic"
    branches: Branches = Field(
        ["vision", "text", "conditional"], min_length=1, description="Adapted branches [studied]"
    )
    base_dimension: int = Field(64, ge=8, le=8192, description="D, from which the widths are derived [studied]")
    schedule: Literal[*SCHEDULES] | list[Width] = Field(
        "telescopic", description="Widths of the vision adapters by depth, or one width for each vision layer [studied]"
    )
    width_sum: Width | None = Field(
        None, description="Sum of the widths over the vision layers, to which the schedule is scaled; its own if absent"
    )
    vision_layers: VisionLayers = Field(list(range(1, 10)), min_length=1, description="Adapted vision layers [studied]")
    text_layers: TextLayers = Field([10, 11, 12], min_length=1, description="Adapted text layers [studied]")
    placement: SubLayers = Field(
        ["attention", "mlp"], min_length=1, description="Sub-layers whose output is adapted [studied]"
    )
    text_width: int | None = Field(
        None, ge=2, le=8192, description="Width of the text adapters; max(8, D // 4) if absent"
    )
    conditional_width: Width | None = Field(None, description="Width of the conditional adapter; max(16, D // 8)")
    alpha: float = Field(0.1, description="Start of the residual scale [studied]")
    alpha_learned: bool = Field(True, description="Whether the residual scale is trained [studied]")
    init: Literal["released", "zero_up"] = Field(
        "released", description="Start of the up-projection: as in the authors' module, or zero [studied]"
    )
    dropout: float = Field(0.1, ge=0, lt=1, description="Dropout inside the bottleneck [fixed]")
    mask_refinement: bool = Field(True, description="The 48-parameter CNN on the logits [studied]")

    @model_validator(mode="after")
    def _consistent(self) -> "Telescopic":
        self.vision_widths()
        return self

    def vision_widths(self) -> list[int]:
        """Width of each adapted vision layer, in the order of ``vision_layers``."""
        return resolve_widths(self.schedule, len(self.vision_layers), self.base_dimension, self.width_sum)

    def adapter_widths(self, features: Features) -> dict[str, int]:
        """Bottleneck width, as built, of each adapter by its place (``vision_3_mlp``, ``text_12_attention``, ...).

        Args:
            features: sizes of the backbone's states.

        Returns:
            Places in the order in which their adapters are initialised: vision by layer, text by layer, conditional.

        Raises:
            ValueError: a width is more than a quarter of its state's, which the authors' module does not build.
        """
        widths = {}
        if "vision" in self.branches:
            for layer, width in zip(self.vision_layers, self.vision_widths(), strict=True):
                widths |= {f"vision_{layer}_{part}": width for part in self.placement}
        if "text" in self.branches:
            width = self.text_width or max(8, self.base_dimension // 4)
            widths |= {f"text_{layer}_{part}": width for layer in self.text_layers for part in self.placement}
        if "conditional" in self.branches:
            widths["conditional"] = self.conditional_width or max(16, self.base_dimension // 8)
        check_widths(widths, features)
        return widths

    def attach(self, segmenter) -> None:
        # torch stays out of this module's import: Snakemake reads the settings each time it parses the workflow.
        from pipeline.models.adapters import MaskRefinement, TelescopicAdapter

        features = segmenter.features()
        for place, width in self.adapter_widths(features).items():
            adapter = TelescopicAdapter(features.at(place), width, self.alpha, self.alpha_learned, self.dropout)
            if self.init == "zero_up":
                adapter.up.weight.data.zero_()
            segmenter.add_adapter(place, adapter)
        if self.mask_refinement:
            segmenter.add_adapter("refinement", MaskRefinement())
