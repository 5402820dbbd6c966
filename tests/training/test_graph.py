"""Steps of full batches are replayed, all others computed; what cannot be recorded is computed."""

from typing import NamedTuple

import pytest
import torch
from torch import Tensor
from training_support import make_trainer

from pipeline.training.graph import WARM_UP, Replayed
from pipeline.training.loop import Step


class Sum(NamedTuple):
    first: Tensor
    second: Tensor


class Recorder:
    """Stands for CUDA: records a step without computing it, and computes it at each replay, in the same places."""

    def __init__(self, kind):
        self.kind, self.replays, self.recovered = kind, 0, 0

    def warm(self, step, *inputs):
        return step(*inputs)

    def record(self, step, *inputs):
        result = self.kind(torch.zeros(()), torch.zeros(()))

        def replay():
            self.replays += 1
            for place, value in zip(result, step(*inputs), strict=True):
                place.copy_(value)

        return replay, result

    def refuse(self, step, *inputs):
        raise RuntimeError("operation not permitted when stream is capturing\nmore")

    def recover(self):
        self.recovered += 1


def sums(*inputs: Tensor) -> Sum:
    return Sum(*(value.float().sum() for value in inputs))


BATCHES = [torch.full((size,), value) for value, size in enumerate([3, 3, 2, 3, 3, 3, 2, 3])]


def test_full_batches_are_replayed_and_smaller_ones_computed():
    cuda = Recorder(Sum)
    replayed = Replayed(sums, 3, cuda.recover, cuda.warm, cuda.record)
    results = [replayed(batch, 2 * batch) for batch in BATCHES]
    # Results keep their values when a later replay writes over its own.
    assert [value.item() for result in results for value in result] == [
        factor * batch.sum().item() for batch in BATCHES for factor in (1, 2)
    ]
    full = sum(len(batch) == 3 for batch in BATCHES)
    assert (cuda.replays, replayed.how, cuda.recovered) == (full - WARM_UP, "CUDA graph", 0)


def test_what_cannot_be_recorded_is_computed(capsys):
    cuda = Recorder(Sum)
    replayed = Replayed(sums, 3, cuda.recover, cuda.warm, cuda.refuse)
    results = [replayed(batch, batch) for batch in BATCHES]
    assert [result.first.item() for result in results] == [batch.sum().item() for batch in BATCHES]
    assert cuda.recovered == 1
    reason = "operation not permitted when stream is capturing"
    assert replayed.how == f"eager, as no CUDA graph could be recorded: {reason}"
    assert capsys.readouterr().err.count(reason) == 1


@pytest.mark.parametrize("variant", ["telescopic", "lora"])
def test_without_cuda_the_setting_changes_nothing(variant):
    epochs = [make_trainer(variant, cuda_graph=cuda_graph).train_epoch(1) for cuda_graph in (False, True)]
    assert epochs[0] == epochs[1]


@pytest.mark.parametrize("augmentation", ["none", "light"])
def test_a_replayed_training_is_the_computed_one(augmentation):
    """Optimizer, warm-up of the rates and a smaller last batch work across recording, to the last bit."""
    cuda, histories = Recorder(Step), []
    for replay in (False, True):
        trainer = make_trainer("telescopic", warmup_steps=9, augmentation=augmentation)
        if replay:
            trainer.replayed = Replayed(trainer.compute, 4, cuda.recover, cuda.warm, cuda.record)
        histories.append([trainer.train_epoch(epoch) for epoch in (1, 2, 3)])
    assert histories[0] == histories[1] and cuda.replays == 3
