"""Synthetic run folders, as training and evaluation leave them, and a way to call a module's command line."""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from unittest import mock

import numpy as np
import pandas as pd
from safetensors.numpy import save_file

from pipeline.evaluation.calibration import THRESHOLDS, bin_sums, calibration_table, sweep_table
from pipeline.evaluation.collect import collect
from pipeline.evaluation.per_case import CHOICES, FURTHER, SCORED
from pipeline.evaluation.runs import Run, run_of
from pipeline.runtime.atomic import write_csv


def write_run(
    results: Path,
    dataset: str,
    variant: str,
    seed: int,
    dsc: Sequence[float],
    *,
    cases: Sequence[str] | None = None,
    kind: str = "telescopic",
    losses: Sequence[tuple[float, float]] = ((0.9, 0.8), (0.7, 0.6)),
    types: Mapping[str, float] = MappingProxyType({"p1": 1}),
) -> Run:
    """A run with the given DSC (0..1) by case; case names are numbers with leading zeros if not given.

    Args:
        types: Prompt types of per_prompt.csv, and what the DSC is multiplied by under each.
    """
    run = run_of(results, dataset, variant, seed)
    run.folder.mkdir(parents=True)
    scores = np.asarray(dsc, dtype=float)
    table = pd.DataFrame(
        {
            "case": cases or [f"{index:03}" for index in range(len(scores))],
            "prompt": "a polyp",
            "dsc": scores,
            "iou": scores / (2 - scores),
            "hd95": 40 * (1 - scores),
            "target_pixels": 100,
            "predicted_pixels": 90,
            "dsc_prompt_sd": None,
            "missed": 0,
            **dict.fromkeys(CHOICES, scores),
            "nsd": scores,
            "ece": 0.1,
            **dict.fromkeys(FURTHER, scores),
        }
    )
    table.to_csv(run.folder / "per_case.csv", index=False)
    by_type = [table.assign(prompt_type=name, dsc=scores * factor) for name, factor in types.items()]
    pd.concat(by_type)[["prompt_type", *SCORED]].to_csv(run.folder / "per_prompt.csv", index=False)
    write_calibration(run.folder, seed)
    record = {f"{name}_sha256": f"{dataset}-{name}-".ljust(64, "0") for name in ("code", "data", "backbone")}
    record |= {"mode": "portable", "configuration": {"variant": {"kind": kind}}}
    (run.folder / "manifest.json").write_text(json.dumps(record))
    write_weights(run.folder / "weights.safetensors", down=(64, 8))
    history = pd.DataFrame(losses, columns=["train_loss", "val_loss"])
    history.insert(0, "epoch", range(1, len(history) + 1))
    history.to_csv(run.folder / "history.csv", index=False)
    return run


def write_calibration(folder: Path, seed: int, best: float = 0.4) -> None:
    """calibration.csv, of probabilities that are too high, and thresholds.csv, whose ``best`` threshold is best."""
    generator = np.random.default_rng(seed)
    probability = generator.beta(0.3, 1, (64, 64)).astype(np.float32)
    target = generator.random((64, 64)) < probability**2
    write_csv(folder / "calibration.csv", calibration_table(bin_sums(probability, target)))
    write_csv(folder / "thresholds.csv", sweep_table([0.8 - np.abs(np.array(THRESHOLDS) - best)]))


def write_transfer_scores(results: Path, run: Run, rows: Sequence[tuple[str, str, float]]) -> None:
    """per_case.csv of ``run`` in transfer/; ``rows``: the dataset tested on, the case, and its DSC (0..1)."""
    table = pd.DataFrame(rows, columns=["test_dataset", "case", "dsc"])
    table = table.assign(prompt="x", iou=0.5, hd95=1.0, target_pixels=1, predicted_pixels=1)
    table = table.assign(dsc_prompt_sd=None, missed=0, nsd=0.5, ece=0.1, **dict.fromkeys((*CHOICES, *FURTHER), 0.5))
    folder = run.within(results / "transfer")
    folder.mkdir(parents=True)
    table.to_csv(folder / "per_case.csv", index=False)


def write_weights(path: Path, **shapes: tuple[int, ...]) -> None:
    """A file of weights with tensors of these shapes by name."""
    save_file({name: np.zeros(shape, np.float32) for name, shape in shapes.items()}, path)


def write_dsc_of(results: Path, runs: Sequence[Run]) -> Path:
    """dsc.csv of ``runs`` in ``results``."""
    write_csv(results / "dsc.csv", collect(runs))
    return results / "dsc.csv"


def call(main: Callable[[], None], *words: object, **options: object) -> None:
    """Run a module's command line in this process.

    Args:
        options: By name with underscores; lists and dicts become JSON, tuples several words, True a flag.
    """
    given = [str(word) for word in words]
    for name, value in options.items():
        given.append(f"--{name.replace('_', '-')}")
        if isinstance(value, list | dict):
            given.append(json.dumps(value))
        elif value is not True:
            given += map(str, value if isinstance(value, tuple) else [value])
    with mock.patch.object(sys, "argv", [main.__module__, *given]):
        main()
