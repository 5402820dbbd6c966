"""How many kernels a training step starts and how many bytes they move, beside matrix products: counted, not timed."""

import math
from collections import Counter

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from pipeline.models.backbone import empty_backbone, full_size_config, with_attention
from pipeline.models.preprocessing import normalise
from pipeline.models.variants import build_segmenter
from pipeline.training import loop
from pipeline.training.settings import TrainingSettings

BATCH, SIDE, TOKENS = 32, 352, 20
# What reads and writes in the course of multiplying, and what only makes a tensor.
PRODUCTS = ("mm", "addmm", "bmm", "baddbmm", "convolution", "_scaled_dot_product")
NO_KERNEL = ("empty", "new_empty", "detach", "_unsafe_view", "lift_fresh")


class Kernels(TorchDispatchMode):
    """Counts operations that compute, each as one kernel, and what those that are no products read and write."""

    def __init__(self):
        super().__init__()
        self.calls, self.bytes = Counter(), Counter()

    def __torch_dispatch__(self, function, types, arguments=(), named=None):
        result = function(*arguments, **named or {})
        name = function.overloadpacket.__name__
        if function.namespace == "aten" and not function.is_view and not name.startswith(NO_KERNEL):
            self.calls[name] += 1
            if not name.startswith(PRODUCTS):
                written = tree_leaves(result)
                # An index reads as much of its table as it writes.
                read = written if name == "index" else tree_leaves((arguments, named or {}))
                self.bytes[name] += sum(map(stored, [*read, *written]))
        return result


def stored(value) -> int:
    """Bytes of a tensor, each repeated one once; nothing for what is none."""
    if not isinstance(value, torch.Tensor):
        return 0
    repeats = zip(value.shape, value.stride(), strict=True)
    return value.element_size() * math.prod(size for size, stride in repeats if stride)


class Text:
    """The frozen part of some prompts' text, as TextCache gives it."""

    def __init__(self, segmenter):
        self.prefix = segmenter.text_prefix(torch.zeros(4, TOKENS, dtype=torch.long))

    def take(self, index):
        return {key: value[index] for key, value in self.prefix.items()}


@pytest.mark.parametrize(("precision", "kernels", "gigabytes"), [("bf16", 1500, 30), ("bf16_residual", 1420, 20)])
def test_a_telescopic_step_in_half_precision_stays_small(precision, kernels, gigabytes, monkeypatch):
    monkeypatch.setattr(loop, "precision_on", lambda device, wanted: wanted)
    segmenter = build_segmenter("telescopic", empty_backbone(full_size_config()))
    normalise(torch.zeros(1, 1, 1, 3))  # keeps its constants, which must have values in the tests that come after
    # Tensors without values: nothing is computed, and a step of full size takes seconds.
    counted = Kernels()
    with FakeTensorMode(allow_non_fake_inputs=True):
        for module in segmenter.modules():
            for name, value in list(module.named_parameters(recurse=False)):
                setattr(module, name, nn.Parameter(torch.empty(value.shape), requires_grad=value.requires_grad))
            for name, value in list(module.named_buffers(recurse=False)):
                setattr(module, name, torch.empty(value.shape, dtype=value.dtype))
        split = loop.CaseTensors(*(torch.empty(BATCH, SIDE, SIDE, *more, dtype=torch.uint8) for more in ((3,), ())))
        index = torch.zeros(BATCH, dtype=torch.long)
        settings = TrainingSettings(precision=precision)
        trainer = loop.Trainer(segmenter, Text(segmenter), split, split, None, index, settings, seed=0)
        with_attention(segmenter.clipseg, "sdpa")  # one kernel, as on a GPU
        segmenter.train()
        trainer.step(index, index)  # makes the optimizer's state
        with counted:
            trainer.step(index, index)
    traffic = counted.bytes.total() / 1e9
    detail = f"{counted.calls.total()} kernels, {traffic:.1f} GB: {counted.calls.most_common(8)}"
    assert 1000 < counted.calls.total() <= kernels, detail
    assert 10 < traffic <= gigabytes, detail
