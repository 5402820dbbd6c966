"""Steps of full batches are replayed, all others computed; what cannot be recorded is computed."""

from typing import NamedTuple

import pytest
import torch
from torch import Tensor
from training_support import make_trainer

from pipeline.training.graph import WARM_UP, Replayed, padded
from pipeline.training.loop import Step


class Sum(NamedTuple):
    first: Tensor
    second: Tensor


class Recorder:
    """Stands for CUDA: records a step without computing it, and computes it at each replay, in the same places."""

    def __init__(self, kind):
        self.kind, self.records, self.replays, self.recovered = kind, 0, 0, 0

    def warm(self, step, *inputs):
        return step(*inputs)

    def record(self, step, *inputs):
        result = self.kind(torch.zeros(()), torch.zeros(()))
        self.records += 1

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


PLAIN = {"kind": "telescopic", "dropout": 0}
"""Without dropout, whose stream depends on the size of the batch."""


# Slices of a batch cannot be padded: then only full batches are replayed, to the last bit.
@pytest.mark.parametrize(
    ("changes", "replays"),
    [({}, 9 - WARM_UP), ({"augmentation": "light"}, 9 - WARM_UP), ({"accumulation": 2}, 6 - WARM_UP)],
)
def test_a_replayed_training_is_the_computed_one(changes, replays):
    """Optimizer, warm-up of the rates and a smaller last batch work across recording, which happens once."""
    cuda, trainers, histories = Recorder(Step), [], []
    for replay in (False, True):
        trainer = make_trainer(PLAIN, warmup_steps=9, **changes)
        if replay:
            trainer.replayed = trainer.recorded(warm=cuda.warm, record=cuda.record)
        histories.append([trainer.train_epoch(epoch) for epoch in (1, 2, 3)])
        trainers.append(trainer)
    tolerance = {"rel": 0, "abs": 0} if "accumulation" in changes else {"rel": 1e-4}
    for one, other in zip(*histories, strict=True):
        assert other == pytest.approx(one, **tolerance)
    assert (cuda.records, cuda.replays) == (1, replays)
    states = [trainer.segmenter.trained_state() for trainer in trainers]
    torch.testing.assert_close(states[1], states[0], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("variant", [PLAIN, "decoder_only", "end_to_end"])
def test_a_padded_step_is_that_of_the_batch(variant):
    """Loss, gradients and batch statistics are the same up to rounding, and another batch's are not."""
    found = []
    for size, count in ((2, 2), (5, 2), (3, 3)):
        trainer = make_trainer(variant)
        trainer.segmenter.train()
        batch = torch.tensor([7, 2, 3])[:count], torch.tensor([1, 0, 2])[:count]
        *batch, weights = padded(size, *batch) if size > count else (*batch, None)
        step = trainer.compute(*batch, weights=weights)
        assert all(norm.weights is None for norm in trainer.norms)
        gradients = torch.cat([parameter.grad.flatten() for parameter in trainer.parameters])
        found.append({"loss": step.loss, "gradients": gradients, **trainer.segmenter.trained_buffers()})
    batch, same, other = found
    torch.testing.assert_close(same, batch, rtol=1e-4, atol=2e-6)
    assert (other["gradients"] - batch["gradients"]).norm() > 0.01 * batch["gradients"].norm()


def test_batches_that_a_batch_norm_would_see_are_not_padded(monkeypatch):
    assert make_trainer(PLAIN).pads
    monkeypatch.setattr("pipeline.models.adapters.WeightedBatchNorm2d", torch.nn.BatchNorm2d)
    assert not make_trainer(PLAIN).pads
