"""Adapters folded into CLIPSeg's own weights, so that they cost nothing at inference."""

import torch
from torch import nn

from pipeline.models import injection
from pipeline.models.adapters import ScaleShift
from pipeline.models.segmenter import Segmenter


@torch.no_grad()
def merge_adapters(segmenter: Segmenter) -> Segmenter:
    """Fold what can be folded (LoRA, DoRA, IA3, scales and shifts) into ``segmenter``, which is changed and returned.

    The logits stay the same up to rounding. What was folded in can no longer be told from CLIPSeg: save a run's
    weights before.
    """
    injection.merge(segmenter)
    for place, module in segmenter.operations().items():
        if place in segmenter.adapters and isinstance(segmenter.adapters[place], ScaleShift):
            _scale(module, segmenter.adapters[place])
            del segmenter.adapters[place]
    return segmenter


def _scale(module: nn.Module, change: ScaleShift) -> None:
    """Give ``module``, a linear or a norm, the output that ``change`` makes of its own."""
    module.weight.mul_(change.scale.view(-1, *[1] * (module.weight.ndim - 1)))
    module.bias.mul_(change.scale).add_(change.shift)
