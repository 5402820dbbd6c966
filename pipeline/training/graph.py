"""A training step that CUDA replays as one graph, its inputs and results in fixed places. Not yet run on a GPU."""

from collections.abc import Callable
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from pipeline.runtime.progress import log

WARM_UP = 3
"""Steps that are computed in the ordinary way first: they make the optimizer's state and choose kernels."""
Result = TypeVar("Result", bound=NamedTuple)


def on_side_stream(step: Callable[..., Result], *inputs: Tensor) -> Result:
    """A step away from the default stream, on which nothing can be captured."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        result = step(*inputs)
    torch.cuda.current_stream().wait_stream(stream)
    return result


def capture(step: Callable[..., Result], *inputs: Tensor) -> tuple[Callable[[], None], Result]:
    """Record a step without computing it: what computes it on what ``inputs`` hold then, and where its result lies."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = step(*inputs)
    return graph.replay, result


def padded(size: int, *values: Tensor) -> tuple[Tensor, ...]:
    """A batch of ``size`` cases of which the last repeat the first of ``values``, and the weight of each.

    Weights, (size,), are alike and 1 in the mean, but 0 for repeated cases: a mean over cases with them is that of the
    batch that was given.
    """
    real, index = len(values[0]), torch.arange(size, device=values[0].device)
    kept = index < real
    return *(value[index * kept] for value in values), kept * (size / real)


class Replayed:
    """``step`` as a replayed graph for batches of one size, and as it is for all others and where recording fails.

    :func:`padded` brings smaller batches to that size.

    Args:
        step: a function of tensors with the batch on axis 0 that never waits for the device.
        size: the batch size that is recorded.
        recover: called when recording failed, before the step is computed in the ordinary way.
        warm, record: how a step is computed before, and recorded; for tests without CUDA.

    Attributes:
        how: what the manifest says of the steps.
    """

    def __init__(
        self, step: Callable[..., Result], size: int, recover: Callable[[], None], warm=on_side_stream, record=capture
    ):
        self.step, self.size, self.recover, self.warm, self.record = step, size, recover, warm, record
        self.how, self.calls = "eager", 0
        self.inputs: tuple[Tensor, ...] = ()
        self.replay: Callable[[], None] | None = None

    def __call__(self, *inputs: Tensor) -> Result:
        if len(inputs[0]) != self.size or (self.calls > WARM_UP and not self.replay):
            return self.step(*inputs)
        self.calls += 1
        if self.calls <= WARM_UP:
            return self.warm(self.step, *inputs)
        if not self.replay:
            self.inputs = tuple(value.clone() for value in inputs)
            try:
                self.replay, self.result = self.record(self.step, *self.inputs)
            except RuntimeError as error:
                reason = str(error).partition("\n")[0]
                self.how = f"eager, as no CUDA graph could be recorded: {reason}"
                log(f"training.cuda_graph: steps are computed without it, as none could be recorded: {reason}")
                self.recover()
                return self.step(*inputs)
            self.how = "CUDA graph"
        for place, value in zip(self.inputs, inputs, strict=True):
            place.copy_(value)
        self.replay()
        # The next replay writes over it.
        return type(self.result)(*(value.clone() for value in self.result))
