"""Cost of one image's inference and of one training step, by fvcore and by PyTorch's FlopCounterMode.

fvcore counts multiply-adds (MACs), FlopCounterMode two FLOPs for each. fvcore counts normalisations as well,
FlopCounterMode does not. fvcore follows the trace back from the output, so it never sees what does not influence it;
FlopCounterMode counts all that is executed. Both count attention in its eager form, for one image and one prompt of
full length; neither counts element-wise work.
"""

import copy
import warnings
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode, conv_flop_count

from pipeline.models.interface import SegmentationModel

# Above this many parameters the meta device counts faster than the CPU computes.
SMALL = 20_000_000


class Cost(NamedTuple):
    """What a segmenter costs, for one image and one prompt.

    Attributes:
        inference_macs: by fvcore.
        inference_flops: by FlopCounterMode.
        training_flops: by FlopCounterMode, forward and backward; none where nothing is trained.
    """

    inference_macs: int
    inference_flops: int
    training_flops: int | None


def count_flops(segmenter: SegmentationModel, image_size: int) -> Cost:
    """The cost of a segmenter on the meta device with eager attention.

    Args:
        image_size: side of the input, pixels.
    """
    computed = _zeros(segmenter)
    small = sum(value.numel() for value in segmenter.parameters()) < SMALL
    pixels, input_ids = _inputs(segmenter, image_size, "cpu" if small else "meta")
    flops = executed_flops(computed if small else segmenter, pixel_values=pixels, input_ids=input_ids)
    return Cost(fvcore_macs(computed, *_inputs(segmenter, image_size, "cpu")), *flops)


def fvcore_macs(module: nn.Module, *inputs: Tensor) -> int:
    """fvcore's count of one forward of ``module`` in evaluation mode."""
    from fvcore.nn import FlopCountAnalysis  # The benchmark counts without it.

    analysis = FlopCountAnalysis(module.eval(), inputs)
    analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    with warnings.catch_warnings():
        # The trace warns of shapes that become constants: with one input that is what they are.
        warnings.simplefilter("ignore")
        return int(analysis.total())


def executed_flops(segmenter: SegmentationModel, **inputs: Any) -> tuple[int, int | None]:
    """What one forward with ``inputs`` computes, and what forward and backward do, by FlopCounterMode.

    Args:
        inputs: of the forward, on the segmenter's device; what they give ready-made (``text``, ``vision``) is not
            counted.

    Returns:
        The second number is None where nothing is trained.
    """
    segmenter.train()
    formulas = {torch.ops.aten.convolution_backward: _convolution_backward}
    with FlopCounterMode(display=False, custom_mapping=formulas) as counter:
        logits = segmenter(**inputs)
        forward = counter.get_total_flops()
        if not logits.requires_grad:
            return forward, None
        logits.sum().backward()
        return forward, counter.get_total_flops()


def _convolution_backward(gradient, x, weight, bias, stride, padding, dilation, transposed, *rest, **options) -> int:
    """As much as forward for the input's and the weights' gradient; PyTorch's own formula counts groups as if dense."""
    wanted = rest[2]
    return sum(wanted[:2]) * conv_flop_count(x, weight, gradient, transposed)


def _inputs(segmenter: SegmentationModel, image_size: int, device: str) -> tuple[Tensor, Tensor]:
    pixels = torch.zeros(1, 3, image_size, image_size, device=device)
    return pixels, torch.zeros(1, segmenter.context, dtype=torch.long, device=device)


def _zeros(module: nn.Module) -> nn.Module:
    """A copy of a module of the meta device on the CPU, all zeros: counting needs shapes and no values."""
    result = copy.deepcopy(module).to_empty(device="cpu")
    with torch.no_grad():
        for tensor in (*result.parameters(), *result.buffers()):
            tensor.zero_()
    return result
