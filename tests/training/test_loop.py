"""The loop on a tiny CLIPSeg: learning, the best epoch, early stopping, resuming, precision."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest
import torch
from training_support import make_trainer

from pipeline.runtime.errors import PipelineError
from pipeline.training.loop import Step, Trainer
from pipeline.training.loss import dice_bce_loss
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


def protocol(trainer: Trainer, epochs: int) -> list[tuple]:
    """The reference's protocol on all cases, written down plainly: one rate, one pass an epoch."""
    settings, segmenter, history = trainer.settings, trainer.segmenter, []
    optimizer = torch.optim.AdamW(
        trainer.parameters, lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True
    )
    plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, factor=settings.plateau_factor, patience=settings.plateau_patience
    )
    for epoch in range(1, epochs + 1):
        torch.manual_seed(trainer.seed * 1_000_003 + epoch)
        segmenter.train()
        prompts, total = trainer.train_prompts(epoch), 0.0
        order = np.random.default_rng((trainer.seed, epoch)).permutation(len(trainer.train))
        for cases in torch.from_numpy(order).split(settings.batch_size):
            optimizer.zero_grad()
            logits = segmenter(**trainer.train.inputs(cases), text=trainer.text.take(prompts[cases]))
            loss = dice_bce_loss(logits, trainer.train.masks[cases][:, None])
            loss.backward()
            torch.nn.utils.clip_grad_norm_(trainer.parameters, settings.gradient_clip)
            optimizer.step()
            total += loss.item() * len(cases)
        rate = optimizer.param_groups[0]["lr"]
        val_loss, val_dsc = trainer.validate()
        plateau.step(val_loss)
        history.append((epoch, rate, total / len(order), val_loss, val_dsc))
    return history


@pytest.mark.parametrize("variant", ["telescopic", "decoder_only", "end_to_end"])
def test_on_all_cases_the_history_is_the_protocols_bit_for_bit(variant):
    settings = {"max_epochs": 5, "plateau_patience": 0, "learning_rate": 1e-2}
    trainer, plain = make_trainer(variant, **settings), make_trainer(variant, **settings)
    trainer.fit()
    assert scores(trainer) == protocol(plain, 5)
    assert [row["steps"] for row in trainer.progress.history] == [3, 6, 9, 12, 15]


def test_a_share_of_the_cases_gets_the_steps_of_all():
    trainer = make_trainer(cases=3, images_per_epoch=10)
    step, draw, batches, passes = trainer.step, trainer.train_prompts, [], []
    trainer.step = lambda cases, prompts: batches.append(cases) or step(cases, prompts)
    trainer.train_prompts = lambda index: passes.append(index) or draw(index)
    for epoch in (1, 2):
        trainer.train_epoch(epoch)
    # As many steps of as many images as ten cases take, in passes that each show every case and draw its prompt anew.
    assert [len(cases) for cases in batches] == [4, 4, 2] * 2
    assert passes == list(range(1, 9))
    order = torch.cat(batches[:3])
    assert all(sorted(order[start : start + 3].tolist()) == [0, 1, 2] for start in (0, 3, 6))
    assert trainer.progress.steps == 6


@pytest.mark.parametrize(
    ("variant", "changes"),
    [
        ("telescopic", {}),
        ("end_to_end", {}),
        ({"kind": "unet", "channels": [4, 4, 4, 4, 4]}, {}),
        # Blocks left out at random, and batch statistics.
        ({"kind": "unet_pretrained", "decoder_channels": [4, 4, 4, 4, 4]}, {"learning_rates": {"encoders": 1e-4}}),
        # Killed in a pass over the cases, and in the warm-up.
        ("telescopic", {"cases": 3, "images_per_epoch": 10}),
        ("end_to_end", {"learning_rates": {"encoders": 1e-4}, "decay_norms_and_biases": False, "warmup_steps": 14}),
        # Parameters that adapters share, and tokens in both encoders.
        ({"kind": "compacter"}, {}),
        ({"kind": "prompt_tuning", "visual": 3, "context": 2}, {}),
    ],
)
def test_killed_and_resumed_equals_uninterrupted(tmp_path, variant, changes):
    settings = {"max_epochs": 5, "save_every": 2} | changes
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


def overflow_in(place: str, trainer: Trainer, when) -> None:
    """Make a gradient, the loss or the logits of ``trainer`` infinite in each step for which ``when`` says so."""
    if place == "gradient":
        trainer.parameters[0].register_hook(lambda value: value * math.inf if when() else value)
    elif place == "loss":
        # Of gradients that stay finite.
        trainer.segmenter.register_forward_hook(lambda _, given, out: out + math.inf if when() else out)
    else:
        # Before the batch norm of the mask refinement.
        trainer.segmenter.clipseg.decoder.transposed_convolution.register_forward_hook(
            lambda _, given, out: out * math.inf if when() else out
        )


def scaled(trainer: Trainer, precision: str) -> Trainer:
    """``trainer`` with the loss scaling of ``precision``."""
    trainer.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**16, enabled=precision == "fp16")
    return trainer


@pytest.mark.parametrize("precision", ["fp16", "fp32"])
@pytest.mark.parametrize("place", ["gradient", "loss", "logits"])
def test_a_step_that_overflows_changes_nothing(place, precision):
    trainer = scaled(make_trainer(), precision)
    trainer.segmenter.train()
    index = torch.arange(4), torch.tensor([0, 1, 2, 0])
    trainer.step(*index)
    before = {name: value.clone() for name, value in trainer.segmenter.trained_state().items()}
    on = True
    overflow_in(place, trainer, lambda: on)
    step = trainer.step(*index)
    assert not step.norm.isfinite()
    after = trainer.segmenter.trained_state()
    trained = trainer.segmenter.trainable_parameters()
    assert all(torch.equal(before[name], after[name]) for name in trained)
    assert all(value.isfinite().all() for value in after.values())
    assert trainer.scaler.get_scale() == (2.0**15 if precision == "fp16" else 1)
    on = False
    assert trainer.step(*index).norm.isfinite()
    assert not any(torch.equal(before[name], value) for name, value in trained.items())


@pytest.mark.parametrize("precision", ["fp16", "fp32"])
def test_an_overflow_is_counted_and_training_goes_on(precision):
    trainer = scaled(make_trainer(max_epochs=4, max_consecutive_skips=1), precision)
    calls = iter(range(1000))
    overflow_in("gradient", trainer, lambda: next(calls) in (3, 7))  # three steps an epoch
    history = pd.DataFrame(trainer.fit().history)
    assert history["skipped_steps"].tolist() == [0, 1, 1, 0]
    powers = (16, 15, 14, 14) if precision == "fp16" else (0, 0, 0, 0)
    assert history["loss_scale"].tolist() == [2.0**power for power in powers]
    assert np.isfinite(history.drop(columns="epoch").to_numpy(dtype=float)).all()
    assert history["train_loss"].iloc[-1] < history["train_loss"].iloc[0]


def fake_steps(trainer: Trainer, *steps: tuple[float, float]) -> Trainer:
    """``trainer`` whose steps have these losses and gradient norms, over and over."""
    values = itertools.cycle(steps)
    trainer.step = lambda cases, prompts: Step(*map(torch.tensor, next(values)))
    return trainer


def test_history_is_of_the_steps_that_were_not_skipped():
    trainer = fake_steps(make_trainer(), (1.0, 0.5), (math.inf, math.nan), (4.0, 2.5))
    row = trainer.train_epoch(1)
    # Batches of 4, 4 and 2 images.
    assert row["train_loss"] == pytest.approx((4 * 1.0 + 2 * 4.0) / 6)
    assert (row["gradient_norm_mean"], row["gradient_norm_max"], row["skipped_steps"]) == (1.5, 2.5, 1)
    nothing = fake_steps(make_trainer(), (math.nan, math.nan)).train_epoch(1)
    assert math.isnan(nothing["train_loss"]) and math.isnan(nothing["gradient_norm_max"])
    assert nothing["skipped_steps"] == 3


def test_gradient_norm_is_that_before_clipping():
    trainer = make_trainer(gradient_clip=1e-3)
    norm = trainer.step(torch.arange(4), torch.tensor([0, 1, 2, 0])).norm
    clipped = torch.cat([parameter.grad.flatten() for parameter in trainer.parameters]).norm()
    assert clipped.item() == pytest.approx(1e-3, rel=1e-3)
    assert norm.item() > 0.01


def test_too_many_skips_in_a_row_stop_with_name_epoch_and_rate_and_keep_the_state(tmp_path):
    trainer = fake_steps(make_trainer(max_epochs=6, save_every=1, max_consecutive_skips=7), (math.nan, math.nan))
    words = r"kvasir_seg/telescopic/seed41: .* 8 steps in a row, the last in epoch 3 at learning rate 0\.003"
    with pytest.raises(PipelineError, match=words):
        trainer.fit(lambda state: save_state(tmp_path, "fingerprint", state))
    state = load_state(tmp_path, "fingerprint")
    assert (state["progress"]["epoch"], state["progress"]["skips_in_a_row"]) == (2, 6)
    # As many in all, but not in a row.
    fake_steps(make_trainer(max_epochs=6, max_consecutive_skips=1), (math.nan, math.nan), (1.0, 1.0)).fit()


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
        losses.append(trainer.step(torch.arange(4), torch.tensor([0, 1, 2, 0])).loss.item())
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
