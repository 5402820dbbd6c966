"""A whole run: its files, resuming, what identifies it, and what fits in memory."""

import json
from pathlib import Path

import pandas as pd
import pytest
import torch
from training_support import make_trainer

from pipeline.models.backbone import load_backbone
from pipeline.models.variants import build_segmenter
from pipeline.models.weights import read_metadata
from pipeline.runtime.code import digest
from pipeline.runtime.errors import PipelineError
from pipeline.runtime.manifest import file_sha256
from pipeline.training import train as module
from pipeline.training.loop import DivergedError, Step, Trainer
from pipeline.training.settings import TrainingSettings
from pipeline.training.train import fit_or_explain, train_run


@pytest.mark.parametrize(
    ("room", "words"), [(3, r"2 fit: set training\.accumulation of this variant to 4"), (0, "not even one")]
)
def test_out_of_memory_names_what_fits(tmp_path, room, words):
    trainer = make_trainer(cases=10, batch=8)
    forward = trainer.segmenter.forward

    def small_card(*arguments, **images):
        if torch.is_grad_enabled() and len(images["pixel_values"]) > room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(*arguments, **images)

    trainer.segmenter.forward = small_card
    with pytest.raises(PipelineError, match=rf"kvasir_seg/telescopic/seed41: .* 8 images at a time; {words}") as error:
        fit_or_explain(trainer, tmp_path, "fingerprint")
    assert "gradient_checkpointing" in str(error.value)
    if room:
        # The fix that the message names works.
        fixed = make_trainer(cases=10, batch=8, accumulation=4, max_epochs=1)
        fixed.segmenter.forward, forward = small_card, fixed.segmenter.forward
        assert fit_or_explain(fixed, tmp_path, "fingerprint").epoch == 1


def train(prepared, output: Path, variant=None, trial=False, alike=(), **settings) -> dict:
    """Train through :func:`train_run`; the manifest."""
    tensors, backbone = prepared
    options = TrainingSettings(**({"batch_size": 4, "learning_rate": 3e-3, "max_epochs": 2} | settings))
    run = (tensors, backbone, variant or {"kind": "telescopic"}, options, 41, 1, output / "state", output, "a run")
    train_run(*run, alike=alike, trial=trial)
    return json.loads((output / "manifest.json").read_text())


def test_a_run_writes_its_files_and_leaves_no_state(prepared, tmp_path):
    record = train(prepared, tmp_path, save_every=1)
    assert {path.name for path in tmp_path.iterdir()} == {"weights.safetensors", "history.csv", "manifest.json"}
    assert pd.read_csv(tmp_path / "history.csv")["epoch"].tolist() == [1, 2]
    assert record["trained_parameters"] == 98_225 and record["epochs"] == 2
    assert record["data_sha256"] == file_sha256(prepared[0] / "cases.csv")
    assert record["code_sha256"] == digest("pipeline.training.train", "pipeline.models.kinds.telescopic")
    metadata = read_metadata(tmp_path / "weights.safetensors")
    assert (metadata["seed"], metadata["image_size"]) == ("41", "64")
    assert metadata["backbone_sha256"] == record["backbone_sha256"]


def test_a_share_of_the_cases_keeps_the_budget_of_all(prepared):
    records = []
    for share in (1.0, 0.4):
        settings = TrainingSettings(batch_size=4, max_epochs=2, train_fraction=share)
        segmenter = build_segmenter("decoder_only", load_backbone(prepared[1]))
        trainer = module.make_trainer(segmenter, *prepared, settings, 41, "a run")
        history = pd.DataFrame(trainer.fit().history)
        records.append((len(trainer.train), len(trainer.val), history["steps"].tolist()))
    # Of nine cases and two.
    assert records == [(9, 2, [3, 6]), (4, 1, [3, 6])]


def test_a_variant_that_trains_nothing_is_a_run_too(prepared, tmp_path):
    record = train(prepared, tmp_path, {"kind": "zero_shot"})
    assert (record["trained_parameters"], record["epochs"], record["best_val_dsc"]) == (0, 0, None)
    assert len(pd.read_csv(tmp_path / "history.csv")) == 0


@pytest.mark.parametrize(("edited", "resumed_from"), [(False, 1), (True, 0)])
def test_a_killed_run_resumes_unless_its_code_was_edited(prepared, tmp_path, monkeypatch, edited, resumed_from):
    class Killed(Exception):
        pass

    def die_in_the_second_epoch(trainer):
        if trainer.progress.epoch:
            raise Killed
        return 0.5, 0.5

    code = ["as it was", "edited" if edited else "as it was"]
    asked = []
    monkeypatch.setattr(module, "digest", lambda *modules: asked.append(modules) or code[len(asked) - 1])
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(Trainer, "validate", die_in_the_second_epoch)
        train(prepared, tmp_path, save_every=1)
    record = train(prepared, tmp_path, save_every=1)
    assert (record["resumed_from_epoch"], record["code_sha256"]) == (resumed_from, code[1])
    # The training's code and that of its own kind, of no other.
    assert asked == [("pipeline.training.train", "pipeline.models.kinds.telescopic")] * 2


def test_a_trial_that_diverges_is_a_run_that_ended_early(prepared, tmp_path, monkeypatch):
    nothing = torch.tensor(torch.nan)
    monkeypatch.setattr(Trainer, "step", lambda self, *batch: Step(nothing, nothing))
    with pytest.raises(DivergedError, match="a run: loss or gradients were not finite in 5 steps in a row"):
        train(prepared, tmp_path, max_consecutive_skips=4)
    record = train(prepared, tmp_path, trial=True, max_consecutive_skips=4)
    # Of three steps an epoch, so the first one was finished.
    assert record["diverged"] and (record["epochs"], record["best_epoch"]) == (1, 1)
    assert len(pd.read_csv(tmp_path / "history.csv")) == 1 and (tmp_path / "weights.safetensors").exists()


def test_a_run_that_was_trained_with_the_same_settings_is_copied(prepared, tmp_path, monkeypatch):
    first = train(prepared, tmp_path / "first", max_epochs=1)
    monkeypatch.setattr(Trainer, "step", None)
    alike = [tmp_path / "first"]
    record = train(prepared, tmp_path / "copy", alike=alike, max_epochs=1)
    assert record == first | {"copied_from": "a run"} and not first["diverged"]
    assert all(file_sha256(tmp_path / f"{name}/weights.safetensors") for name in ("first", "copy"))
    with pytest.raises(TypeError):  # another rate, so it is trained
        train(prepared, tmp_path / "other", alike=alike, max_epochs=1, learning_rate=1e-3)


def test_tuned_rates_take_the_place_of_the_settings(tmp_path):
    rates = {"learning_rate": 2e-3, "learning_rates": {"decoder": 1e-4}, "weight_decay": 0.1}
    (tmp_path / "tuning.json").write_text(json.dumps({"methods": {"lora": {"chosen": {"rates": rates}}}}))
    options = {"variant": {"kind": "lora"}, "training": {"batch_size": 4}, "widths": None}
    options |= {"tuning": tmp_path / "tuning.json", "method": "lora"}
    settings = module.checked(options)["settings"]
    assert (settings.batch_size, settings.learning_rate, settings.weight_decay) == (4, 2e-3, 0.1)
    assert settings.learning_rates.decoder == 1e-4


def test_settings_that_are_not_valid_are_named(monkeypatch, tmp_path):
    options = {"tensors": "t", "backbone": "b", "variant": "{}", "seed": "41", "state": "s"}
    options |= {"training": "{}", "threads": "1", "name": "n", "output": str(tmp_path)}
    monkeypatch.setattr("sys.argv", ["train", *(f"--{name}={value}" for name, value in options.items())])
    with pytest.raises(PipelineError, match="--variant, --training: kind: None is unknown"):
        module.main()
