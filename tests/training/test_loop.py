"""The loop on a tiny CLIPSeg: learning, the best epoch, early stopping, resuming, precision."""

import math

import numpy as np
import pytest
import torch
from training_support import make_trainer

from pipeline.runtime.errors import PipelineError
from pipeline.training.loop import Trainer
from pipeline.training.state import load_state, save_state


def scores(trainer: Trainer) -> list[tuple]:
    """The history without its timings."""
    keys = ("epoch", "learning_rate", "train_loss", "val_loss", "val_dsc")
    return [tuple(row[key] for key in keys) for row in trainer.progress.history]


def same_weights(one: Trainer, other: Trainer) -> bool:
    states = one.segmenter.trained_state(), other.segmenter.trained_state()
    return states[0].keys() == states[1].keys() and all(
        torch.equal(states[0][name], states[1][name]) for name in states[0]
    )


@pytest.mark.parametrize("variant", ["telescopic", "decoder_only", "lora", "end_to_end"])
def test_training_learns(variant):
    trainer = make_trainer(variant, max_epochs=8)
    trainer.fit()
    losses = [row["train_loss"] for row in trainer.progress.history]
    assert losses[-1] < losses[0] - 0.05


def test_best_epoch_is_kept():
    trainer = make_trainer(max_epochs=6)
    progress = trainer.fit()
    assert progress.best_dsc == max(row["val_dsc"] for row in progress.history)
    assert trainer.validate()[1] == pytest.approx(progress.best_dsc, abs=1e-9)


def test_same_seed_same_result_and_another_seed_another():
    one, same, other = (make_trainer(seed=seed, max_epochs=2) for seed in (41, 41, 42))
    for trainer in (one, same, other):
        trainer.fit()
    assert scores(one) == scores(same)
    assert same_weights(one, same)
    assert scores(one) != scores(other)


@pytest.mark.parametrize("variant", ["telescopic", "end_to_end"])
def test_killed_and_resumed_equals_uninterrupted(tmp_path, variant):
    settings = {"max_epochs": 5, "save_every": 2}
    whole = make_trainer(variant, **settings)
    whole.fit()

    class Killed(Exception):
        pass

    def save_then_die(state):
        save_state(tmp_path, "fingerprint", state)
        if state["progress"]["epoch"] == 4:
            raise Killed

    killed = make_trainer(variant, **settings)
    with pytest.raises(Killed):
        killed.fit(save_then_die)
    resumed = make_trainer(variant, **settings)
    resumed.resume(load_state(tmp_path, "fingerprint"))
    assert resumed.progress.epoch == 4
    resumed.fit()
    assert scores(resumed) == scores(whole)
    assert same_weights(resumed, whole)


def test_accumulated_gradient_equals_that_of_the_whole_batch():
    # Batch statistics (mask refinement) and dropout differ between slices by nature: without them the step is the same.
    variant = {"kind": "telescopic", "mask_refinement": False, "dropout": 0}
    weights = []
    for accumulation in (1, 3):
        trainer = make_trainer(variant, accumulation=accumulation)
        trainer.segmenter.train()
        trainer.step(torch.arange(4), torch.tensor([0, 1, 2, 0]))
        weights.append(torch.cat([p.grad.flatten() for p in trainer.parameters]))
    torch.testing.assert_close(weights[0], weights[1], rtol=1e-4, atol=1e-6)


def test_early_stopping_waits_for_the_first_epochs():
    trainer = make_trainer(max_epochs=30, min_epochs=6, stop_patience=2)
    trainer.validate = lambda: (1.0, 0.25)
    progress = trainer.fit()
    assert progress.epoch == 6
    assert progress.best_epoch == 1


def test_gain_below_the_threshold_does_not_postpone_the_stop_but_is_kept():
    trainer = make_trainer(max_epochs=30, min_epochs=1, stop_patience=3, stop_min_delta=0.01)
    gains = iter(0.25 + 0.001 * np.arange(30))
    trainer.validate = lambda: (1.0, float(next(gains)))
    progress = trainer.fit()
    assert (progress.epoch, progress.best_epoch) == (4, 4)


def test_learning_rate_falls_on_a_plateau():
    trainer = make_trainer(max_epochs=9, plateau_patience=5, plateau_factor=0.3)
    trainer.validate = lambda: (1.0, 0.5)
    rates = [row["learning_rate"] for row in trainer.fit().history]
    assert rates[6] == pytest.approx(3e-3)
    assert rates[7] == pytest.approx(3e-3 * 0.3)


def test_nan_loss_stops_with_name_epoch_and_rate_and_keeps_the_state(tmp_path):
    trainer = make_trainer(max_epochs=6, save_every=1)
    step, calls = trainer.step, iter(range(100))

    def poisoned(cases, prompts):
        loss = step(cases, prompts)
        return loss * math.nan if next(calls) == 7 else loss

    trainer.step = poisoned
    with pytest.raises(PipelineError, match=r"kvasir_seg/telescopic/seed41.*nan in epoch 3 at learning rate 0\.003"):
        trainer.fit(lambda state: save_state(tmp_path, "fingerprint", state))
    assert load_state(tmp_path, "fingerprint")["progress"]["epoch"] == 2


def test_scaler_skips_a_step_with_infinite_gradients():
    trainer = make_trainer()
    trainer.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**16)
    before = [parameter.detach().clone() for parameter in trainer.parameters]
    hook = trainer.parameters[0].register_hook(lambda gradient: gradient * math.inf)
    trainer.step(torch.arange(4), torch.tensor([0, 1, 2, 0]))
    assert all(torch.equal(*pair) for pair in zip(before, trainer.parameters, strict=True))
    assert trainer.scaler.get_scale() == 2.0**15
    hook.remove()
    trainer.step(torch.arange(4), torch.tensor([0, 1, 2, 0]))
    assert not torch.equal(before[0], trainer.parameters[0])


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
@pytest.mark.parametrize("variant", [{"kind": "telescopic", "dropout": 0}, "vlsm_shallow", "end_to_end"])
def test_mixed_precision_step_is_close_to_fp32(variant, precision):
    losses = []
    for mode in ("fp32", precision):
        trainer = make_trainer(variant)
        trainer.scaler = torch.amp.GradScaler("cpu", init_scale=1.0, enabled=mode == "fp16")
        trainer.precision = mode
        trainer.segmenter.train()
        # Only the first step: AdamW turns the rounding of small gradients into steps of full size.
        losses.append(trainer.step(torch.arange(4), torch.tensor([0, 1, 2, 0])).item())
        gradients = [parameter.grad for parameter in trainer.parameters]
        assert all(value.dtype == torch.float32 and value.isfinite().all() for value in gradients)
    assert losses[1] == pytest.approx(losses[0], rel=0.01)


@pytest.mark.parametrize("variant", ["decoder_only", "vlsm_shallow"])
def test_cached_vision_states_give_the_same_loss(variant):
    cached, fresh = make_trainer(variant), make_trainer(variant)
    assert cached.train.vision is not None
    fresh.train.vision = fresh.val.vision = None
    assert cached.validate() == pytest.approx(fresh.validate(), rel=1e-5)


def test_only_a_frozen_encoder_is_cached():
    assert make_trainer("telescopic").train.vision is None
