"""A U-Net whose encoder is an EfficientNet (Tan and Le, ICML 2019) pretrained on ImageNet, by MONAI."""

from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from pipeline.models.kinds import KindSettings, register

UNUSED = ("_conv_head", "_bn1", "_fc")
"""What the classifier has behind the last features."""


@register("unet_pretrained")
class UnetPretrained(KindSettings):
    """5,367,117 parameters, 3,595,388 of them the encoder's, which was pretrained on images normalised as CLIPSeg's.

    MONAI pads as for images of 224 pixels, which is right for sides that are multiples of 32.
    """

    reads_prompt: ClassVar[bool] = False

    kind: Literal["unet_pretrained"] = "unet_pretrained"
    encoder: Literal["efficientnet-b0"] = Field(
        "efficientnet-b0", description="Encoder, a row of workflow/resources/pretrained_files.csv [fixed]"
    )
    decoder_channels: list[Annotated[int, Field(ge=2, multiple_of=2)]] = Field(
        [256, 128, 64, 32, 16], min_length=5, max_length=5, description="Features of the decoder's blocks [fixed]"
    )

    @property
    def pretrained(self) -> str:
        return self.encoder

    def build(self, backbone):
        import torch
        from monai.networks.nets import FlexibleUNet

        from pipeline.models.interface import ImageModel

        with torch.device(backbone.device):
            network = FlexibleUNet(3, 1, self.encoder, decoder_channels=tuple(self.decoder_channels))
        for name in UNUSED:
            delattr(network.encoder, name)
        return ImageModel(network, multiple=32)

    def load_start(self, model, backbone: Path, pretrained: Path | None) -> None:
        from pipeline.models.pretrained import load_efficientnet

        load_efficientnet(model.network.encoder, pretrained, UNUSED)
