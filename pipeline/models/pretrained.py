"""Published weights of an encoder, from a file into the encoder of a network."""

import re
from pathlib import Path

import torch
from torch import nn

from pipeline.models.shapes import difference, shapes_of
from pipeline.runtime.errors import PipelineError


def load_efficientnet(encoder: nn.Module, path: Path, without: tuple[str, ...]) -> None:
    """Copy the weights and batch statistics of EfficientNet-PyTorch's file into MONAI's encoder.

    Args:
        path: a state dictionary by torch.save, of any version; what else a pickle may hold is refused.
        without: first parts of names in the file that the encoder does not have.

    Raises:
        PipelineError: no such file, or its names or shapes differ from the encoder's; the message lists them.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        # Counts of batches, which nothing reads and old files lack.
        kept = {name: value for name, value in state.items() if not name.endswith("num_batches_tracked")}
        found = {name: value for name, value in kept.items() if name.split(".")[0] not in without}
        shapes = shapes_of(found)
    except Exception as error:
        # What a broken file raises depends on where it is broken.
        raise PipelineError(
            f"{path}: no file of weights ({error!r:.300}); remove it, so that it is fetched again"
        ) from None
    # MONAI numbers the stages too: _blocks.STAGE.BLOCK.
    own = {
        re.sub(r"^_blocks\.\d+\.", "_blocks.", name): value
        for name, value in encoder.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    if reason := difference(shapes_of(own), shapes):
        raise PipelineError(f"{path}: not the weights of this encoder: {reason}")
    with torch.no_grad():
        for name, value in own.items():
            value.copy_(found[name])
