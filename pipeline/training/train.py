"""Train one variant on one dataset with one seed: weights.safetensors, history.csv, manifest.json."""

import argparse
import contextlib
import functools
import hashlib
import itertools
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from pipeline.data.prompts import EVALUATION, all_prompts, draw_prompt, mirrored, names_place
from pipeline.data.tensors import PreparedSplit, load_split
from pipeline.models.backbone import load_backbone
from pipeline.models.interface import SegmentationModel
from pipeline.models.kinds import parse_variant
from pipeline.models.preprocessing import load_tokenizer
from pipeline.models.textcache import TextCache
from pipeline.models.variants import build_segmenter
from pipeline.models.weights import save_weights
from pipeline.runtime.atomic import atomic_path, read_json, write_csv, write_json
from pipeline.runtime.code import digest
from pipeline.runtime.errors import PipelineError, run_command
from pipeline.runtime.lease import compute_device
from pipeline.runtime.manifest import file_sha256, manifest, peak_memory_mib
from pipeline.runtime.nvml import energy_joules, joules_since
from pipeline.runtime.options import json_value
from pipeline.runtime.progress import duration, log
from pipeline.training.augmentation import Views, draw_views
from pipeline.training.determinism import precision_on, set_mode
from pipeline.training.loop import CaseTensors, DivergedError, Progress, Trainer, to_device
from pipeline.training.settings import TrainingSettings
from pipeline.training.state import load_state, remove_state, save_state
from pipeline.training.subsets import nested_subset
from pipeline.training.tuned import chosen_rates, take_over

# One row an epoch, which is as many optimizer steps as a pass over the full training set, whatever the share of its
# cases; `steps` is their count so far. Loss and gradient norms (before clipping) are of steps that were not skipped.
HISTORY_COLUMNS = ["epoch", "steps", "learning_rate", "train_loss", "val_loss", "val_dsc"]
HISTORY_COLUMNS += ["gradient_norm_mean", "gradient_norm_max", "skipped_steps", "loss_scale"]
HISTORY_COLUMNS += ["seconds", "images_per_second"]


def make_trainer(
    segmenter: SegmentationModel, tensors: Path, backbone: Path, settings: TrainingSettings, seed: int, name: str
) -> Trainer:
    """A trainer for ``segmenter`` with the data of a tensors folder, all on the segmenter's device.

    With a share of the cases, validation shrinks as training does, and an epoch keeps its number of images.

    Args:
        tensors: folder that ``pipeline.data.tensors`` wrote.
        backbone: folder of the pretrained CLIPSeg; for its tokenizer.
        name: what log lines and errors call this run.
    """
    device = segmenter.device.type

    def share(split: PreparedSplit) -> tuple[pd.DataFrame, CaseTensors]:
        keep = nested_subset(list(split.cases["case"]), settings.train_fraction, seed)
        tensors = to_device(split.images[keep], split.masks[keep], device)
        return split.cases.iloc[keep].reset_index(drop=True), tensors

    full = load_split(tensors, "train")
    (cases, train), (val_cases, val) = share(full), share(load_split(tensors, "val"))
    augmented, strings = settings.augmentation == "light", {*all_prompts(cases, settings.prompt_type)}
    if augmented:
        strings = {mirrored(text, *flips) for text in strings for flips in itertools.product((False, True), repeat=2)}
    text = TextCache(
        segmenter, load_tokenizer(backbone), sorted(strings.union(all_prompts(val_cases, settings.prompt_type)))
    )

    def prompts(frame: pd.DataFrame, epoch: int) -> list[str]:
        drawn = zip(frame["prompts"], frame["case"], strict=True)
        return [draw_prompt(options, settings.prompt_type, seed, case, epoch) for options, case in drawn]

    # Asked for the prompts of a pass, and then for its views.
    @functools.lru_cache(1)
    def seen(index: int) -> tuple[list[str], Views]:
        drawn = prompts(cases, index)
        views = draw_views(list(cases["case"]), seed, index, list(map(names_place, drawn)))
        return list(map(mirrored, drawn, *views.flips.T)), views

    return Trainer(
        segmenter,
        text,
        train,
        val,
        train_prompts=lambda index: text.index(seen(index)[0] if augmented else prompts(cases, index)),
        val_prompts=text.index(prompts(val_cases, EVALUATION)),
        settings=settings,
        seed=seed,
        name=name,
        images_per_epoch=len(full),
        train_views=(lambda index: seen(index)[1].values) if augmented else None,
    )


def train_run(
    tensors: Path, backbone: Path, variant: dict, settings: TrainingSettings, seed: int, threads: int, state: Path,
    output: Path, name: str, then: Callable[[SegmentationModel, str], None] | None = None, alike: Sequence[str] = (),
    trial: bool = False, pretrained: Path | None = None,
) -> None:  # fmt: skip
    """Train, resuming from ``state`` if it fits, and write the run's files into ``output``.

    Args:
        tensors: folder that ``pipeline.data.tensors`` wrote.
        backbone: folder of the pretrained CLIPSeg.
        variant: settings of the variant's kind, JSON-ready.
        threads: CPU threads; part of the result's identity on a CPU.
        name: what log lines and errors call this run.
        then: called with the trained segmenter and its device once the run's files are written; the state is kept until
            it returns.
        alike: folders of runs that may be the same as this; the one that is, is copied.
        trial: whether a training that diverges is no error, but a run that ended early and says so.
        pretrained: the file of weights that the variant's kind starts from, if any.

    Raises:
        PipelineError: out of memory, no finite loss, or the kind's pretrained weights are missing or others.
    """
    began, kind = time.monotonic(), parse_variant(variant)
    hashes = {
        "data_sha256": file_sha256(tensors / "cases.csv"),
        "backbone_sha256": file_sha256(backbone / "model.safetensors"),
    }
    if kind.pretrained:
        if pretrained is None:
            raise PipelineError(f"{name}: starts from {kind.pretrained}: name its file by --pretrained")
        hashes["pretrained_sha256"] = file_sha256(pretrained)
    code = digest("pipeline.training.train", type(kind).__module__)
    configuration = {"variant": variant, "training": settings.model_dump(), "seed": seed, "threads": threads}
    identity = {"configuration": configuration, "code_sha256": code, **hashes}
    if copied := take_over(map(Path, alike), output, name, identity):
        log(f"{name}: the same as {copied}, which is copied")
        return
    fingerprint = hashlib.sha256(json.dumps([configuration, hashes, code], sort_keys=True).encode()).hexdigest()
    with compute_device() as device:
        mode, energy = set_mode(device, settings.deterministic, threads), energy_joules(device)
        log(f"{name}: on {device}, {mode}, seed {seed}")
        # Adapters are initialised from the global generator: the same start for the same seed and variant.
        torch.manual_seed(seed)
        segmenter = build_segmenter(kind, load_backbone(backbone))
        kind.load_start(segmenter, backbone, pretrained)
        segmenter.to(device)
        trained = sum(value.numel() for value in segmenter.trainable_parameters().values())
        progress, resumed_from, diverged, steps, cached = Progress(), 0, False, "eager", []
        if trained:
            trainer = make_trainer(segmenter, tensors, backbone, settings, seed, name)
            saved = load_state(state, fingerprint)
            if saved:
                trainer.resume(saved)
                resumed_from = trainer.progress.epoch
                log(f"{name}: resuming after epoch {resumed_from}")
            try:
                progress = fit_or_explain(trainer, state, fingerprint)
            except DivergedError as error:
                if not trial:
                    raise
                log(str(error))
                progress, diverged = trainer.progress, True
                segmenter.load_trained_state(trainer.best)
            if trainer.replayed:
                steps = trainer.replayed.how
            cached = [split for split in ("train", "val") if getattr(trainer, split).vision is not None]
            del trainer  # and with it the training data on the device
        else:
            segmenter.precision = precision_on(device, settings.precision)
        output.mkdir(parents=True, exist_ok=True)
        with atomic_path(output / "weights.safetensors") as path:
            size = load_split(tensors, "train").images.shape[1]
            save_weights(path, segmenter, variant, {"seed": str(seed), "image_size": str(size), **hashes})
        write_csv(output / "history.csv", pd.DataFrame(progress.history, columns=HISTORY_COLUMNS))
        seconds = time.monotonic() - began
        record = manifest(
            device,
            run=name,
            configuration=configuration,
            **hashes,
            code_sha256=code,
            trained_parameters=trained,
            epochs=progress.epoch,
            best_epoch=progress.best_epoch,
            best_val_dsc=progress.best_dsc if progress.epoch else None,
            diverged=diverged,
            resumed_from_epoch=resumed_from,
            mode=mode,
            precision=segmenter.precision,
            steps=steps,
            cached_vision_states=cached,
            wall_seconds=round(seconds, 2),
            training_seconds=round(sum(row["seconds"] for row in progress.history), 2),
            peak_memory=peak_memory_mib(device),
            # Of the whole card; what a run took before it was resumed is not known.
            energy_joules=None if resumed_from else joules_since(device, energy),
            weights_bytes=(output / "weights.safetensors").stat().st_size,
        )
        write_json(output / "manifest.json", record)
        log(f"{name}: {progress.epoch} epochs in {duration(seconds)}, best in epoch {progress.best_epoch}")
        if then:
            then(segmenter, device)
    remove_state(state)


def fit_or_explain(trainer: Trainer, state: Path, fingerprint: str) -> Progress:
    """Train, saving into ``state``.

    Raises:
        PipelineError: out of memory; the message says how many images fit, and which setting makes the batch fit.
    """
    with contextlib.suppress(torch.OutOfMemoryError):
        return trainer.fit(lambda content: save_state(state, fingerprint, content))
    # Only here, with the error and what its frames held gone, does it show what fits.
    settings = trainer.settings
    images = -(-settings.batch_size // settings.accumulation)
    fit = trainer.images_that_fit(images // 2)
    if fit:
        fix = (
            f"{fit} fit: set training.accumulation of this variant to {-(-settings.batch_size // fit)} (the same batch "
            f"of {settings.batch_size} in slices; the mask refinement's batch norm then sees one slice at a time)"
        )
    else:
        fix = "not even one fits: free the device of other processes"
    if trainer.segmenter.recomputes and not settings.gradient_checkpointing:
        fix += ", or set training.gradient_checkpointing to true (slower, the same numbers)"
    raise PipelineError(f"{trainer.name}: out of memory with {images} images at a time; {fix}")


def add_options(parser: argparse.ArgumentParser) -> None:
    """The command line's options: what :func:`checked` makes the arguments of :func:`train_run`."""
    parser.add_argument("--tensors", type=Path, required=True, help="folder of prepared tensors")
    parser.add_argument("--backbone", type=Path, required=True, help="folder of the pretrained CLIPSeg")
    parser.add_argument(
        "--variant", type=json_value("--variant", dict), required=True, help="settings of its kind, JSON"
    )
    parser.add_argument("--pretrained", type=Path, help="file of the weights that the variant's kind starts from")
    parser.add_argument("--widths", type=Path, help="widths.json, which replaces the variant's schedule")
    parser.add_argument("--training", type=json_value("--training", dict), required=True, help="settings, JSON")
    parser.add_argument("--tuning", type=Path, help="tuning.json, whose chosen rates replace those of --training")
    parser.add_argument("--method", help="method of tuning.json whose rates are meant")
    folders = "JSON list: folders of runs, of which one that is the same is copied"
    parser.add_argument("--alike", type=json_value("--alike", list), default=[], help=folders)
    trial = "of rates: a training that diverges is a run that ended early, and test cases take no part"
    parser.add_argument("--trial", action="store_true", help=trial)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True, help="CPU threads; part of a CPU result's identity")
    parser.add_argument("--state", type=Path, required=True, help="folder for what a resumed run needs")
    parser.add_argument("--name", required=True, help="what log lines call this run")
    parser.add_argument("--output", type=Path, required=True, help="folder of the run")


def checked(options: dict[str, Any]) -> dict[str, Any]:
    """The arguments of :func:`train_run` from those of the command line.

    Raises:
        PipelineError: settings of the variant or of its training are not valid.
    """
    widths, tuning, method = (options.pop(name) for name in ("widths", "tuning", "method"))
    if tuning:
        options["training"] |= chosen_rates(tuning, method)
    if widths:
        options["variant"] |= read_json(widths, dict, "run the rule learn_widths again")
    try:
        options["variant"] = parse_variant(options["variant"]).model_dump(mode="json")
        options["settings"] = TrainingSettings.model_validate(options.pop("training"))
    except ValueError as error:
        raise PipelineError(f"--variant, --training: {error}") from None
    return options


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_options(parser)
    train_run(**checked(vars(parser.parse_args())))


if __name__ == "__main__":
    run_command(main)
