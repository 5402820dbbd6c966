"""A step never waits for the device: nothing is read from it, and nothing copied to it.

The device is PyTorch's meta device, which has shapes and no values; what only a GPU shows is in tests/models/test_cuda.
"""

import sys

import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from training_support import make_trainer

from pipeline.models.preprocessing import normalise

DEVICE = "meta"


class NoCopies(TorchDispatchMode):
    """Refuses copies between host and device; the meta device itself refuses to be read."""

    def __torch_dispatch__(self, function, types, arguments=(), named=None):
        result = function(*arguments, **named or {})
        tensors = [leaf for leaf in tree_leaves((arguments, named, result)) if isinstance(leaf, torch.Tensor)]
        # A number of the host is no tensor but an argument of a kernel.
        if "copy" in function.overloadpacket.__name__ and len({value.device for value in tensors}) > 1:
            raise RuntimeError("a copy between host and device")
        return result


class NoConstants(TorchFunctionMode):
    """Refuses to make a tensor on the device of the host's numbers, which is a copy."""

    def __torch_function__(self, function, types, arguments=(), named=None):
        result = function(*arguments, **named or {})
        if function in (torch.tensor, torch.as_tensor) and result.device.type == DEVICE:
            raise RuntimeError("a copy between host and device")
        return result


@pytest.fixture
def meta(monkeypatch):
    """Training on the meta device."""
    monkeypatch.setattr(sys.modules["torch.optim.optimizer"], "_get_fused_kernels_supported_devices", lambda: [DEVICE])
    monkeypatch.setattr("pipeline.training.loop.precision_on", lambda device, wanted: "fp32")


@pytest.mark.parametrize(
    "wait",
    [
        lambda x: x.sum().item(),
        lambda x: bool(x.sum() > 0),
        lambda x: x[x > 0],
        lambda x: x.cpu(),
        lambda x: x + torch.tensor([1.0, 2.0], device=DEVICE),
        lambda x: x.copy_(torch.ones(2)),
    ],
)
def test_what_waits_is_noticed(wait):
    with NoCopies(), NoConstants(), pytest.raises(RuntimeError, match=r"between host and device|meta tensor|nonzero"):
        wait(torch.empty(2, device=DEVICE))


@pytest.mark.parametrize("variant", ["telescopic", "lora", "end_to_end", "vlsm_shallow"])
def test_a_step_never_waits_for_the_device(variant, meta):
    trainer = make_trainer(variant, device=DEVICE)
    trainer.segmenter.train()
    index = torch.zeros(4, dtype=torch.long, device=DEVICE)
    normalise(trainer.train.images[:1])  # keeps its constants on the device
    trainer.step(index, index)  # makes the optimizer's state
    with NoCopies(), NoConstants():
        trainer.step(index, index)
