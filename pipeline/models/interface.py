"""What training, scoring, predicting, counting and galleries ask of a model, whatever is inside it.

| family | class | what it is |
| --- | --- | --- |
| CLIPSeg | :class:`pipeline.models.segmenter.Segmenter` | frozen, with what a variant trains in it |
| image model | :class:`ImageModel` | any network from images to logits, all of it trained; prompts change nothing |

A kind says by its :meth:`pipeline.models.kinds.KindSettings.build` which of them it is.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from pipeline.models.shapes import difference, shapes_of


class SegmentationModel(nn.Module, ABC):
    """Logits from images and prompts.

    Attributes:
        context: tokens of a prompt that are read, at most; 0 if the prompt is not read.
        multiple: sides of images are multiples of it, pixels.
        precision: fp32, or a key of ``AUTOCAST``: what a run was trained in, and is used in where the device computes
            it.
        recomputes: whether ``gradient_checkpointing`` has an effect.
        gradient_checkpointing: whether layers are computed once more in the backward pass.
    """

    context = 0
    multiple = 1
    precision = "fp32"
    recomputes = False
    gradient_checkpointing = False

    @property
    def device(self) -> torch.device:
        """Where the model lies."""
        return next(self.parameters()).device

    # ---------------------------------------------------------------- what is trained

    def trainable_parameters(self) -> dict[str, nn.Parameter]:
        """Names and tensors that training updates."""
        return {name: value for name, value in self.named_parameters() if value.requires_grad}

    @abstractmethod
    def trained_buffers(self) -> dict[str, Tensor]:
        """Names and tensors that training changes beside the parameters: statistics of batch norms."""

    def trained_state(self) -> dict[str, Tensor]:
        """What a run stores."""
        return {**self.trainable_parameters(), **self.trained_buffers()}

    def load_trained_state(self, state: Mapping[str, Tensor]) -> None:
        """Copy what :meth:`trained_state` gave into this model.

        Raises:
            ValueError: names or shapes differ; the message lists them.
        """
        own = self.trained_state()
        reason = difference(shapes_of(own), shapes_of(state))
        if reason:
            raise ValueError(f"weights do not fit this variant: {reason}")
        with torch.no_grad():
            for name, tensor in own.items():
                tensor.copy_(state[name])

    # ---------------------------------------------------------------- what is computed

    @abstractmethod
    def text_prefix(self, input_ids: Tensor) -> dict[str, Tensor]:
        """What the frozen part makes of each prompt, (prompts, tokens); :meth:`forward` takes it as ``text``."""

    @abstractmethod
    def vision_states(self, pixel_values: Tensor) -> list[Tensor]:
        """What no prompt changes, of images (batch, 3, height, width); :meth:`forward` takes it as ``vision``."""

    @abstractmethod
    def cached_bytes(self, side: int) -> int | None:
        """Bytes of an image's :meth:`vision_states` in float32; none if training changes them."""

    @abstractmethod
    def forward(
        self,
        pixel_values: Tensor | None = None,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        *,
        text: Mapping[str, Tensor] | None = None,
        vision: list[Tensor] | None = None,
    ) -> Tensor:
        """Logits of the mask, (batch, 1, height, width), from images and prompts or what was made of them before."""


class ImageModel(SegmentationModel):
    """A network that reads no prompt, all of it trained.

    Args:
        network: maps (batch, 3, height, width) to logits (batch, 1, height, width).
        multiple: sides of its images are multiples of it, pixels.
    """

    def __init__(self, network: nn.Module, multiple: int):
        super().__init__()
        self.network, self.multiple = network, multiple

    def trained_buffers(self) -> dict[str, Tensor]:
        return dict(self.named_buffers())

    def text_prefix(self, input_ids: Tensor) -> dict[str, Tensor]:
        return {}

    def vision_states(self, pixel_values: Tensor) -> list[Tensor]:
        return [self.network(pixel_values)]

    def cached_bytes(self, side: int) -> None:
        return None

    def forward(self, pixel_values=None, input_ids=None, attention_mask=None, *, text=None, vision=None) -> Tensor:
        if vision is None:
            if pixel_values is None:
                raise ValueError("give pixel_values or vision")
            vision = self.vision_states(pixel_values)
        return vision[0]
