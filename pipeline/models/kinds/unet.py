"""A U-Net from scratch (Ronneberger et al., MICCAI 2015; Falk et al., Nature Methods 2019), by MONAI."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from pipeline.models.kinds import KindSettings, register


@register("unet")
class Unet(KindSettings):
    """Neither CLIPSeg nor anything pretrained: 31,113,217 parameters at the widths of the original."""

    reads_prompt: ClassVar[bool] = False

    kind: Literal["unet"] = "unet"
    channels: list[Annotated[int, Field(ge=2, multiple_of=2)]] = Field(
        [64, 128, 256, 512, 1024], min_length=5, max_length=5, description="Features at each resolution [fixed]"
    )

    def build(self, backbone):
        from contextlib import redirect_stdout

        import torch
        from monai.networks.nets import BasicUNet

        from pipeline.models.interface import ImageModel

        # MONAI prints the channels.
        with torch.device(backbone.device), redirect_stdout(None):
            return ImageModel(BasicUNet(2, 3, 1, features=(*self.channels, self.channels[0])), multiple=16)
