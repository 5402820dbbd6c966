"""Made-up run folders, as training and evaluation leave them."""

import json
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.evaluation.collect import collect
from pipeline.evaluation.runs import Run, run_of
from pipeline.runtime.atomic import write_csv

FORGED = "12.345678"


def write_run(
    results: Path,
    dataset: str,
    variant: str,
    seed: int,
    dsc: Sequence[float],
    *,
    cases: Sequence[str] | None = None,
    kind: str = "telescopic",
    shapes: dict[str, list[int]] | None = None,
    losses: Sequence[tuple[float, float]] = ((0.9, 0.8), (0.7, 0.6)),
) -> Run:
    """A run with the given DSC (0..1) by case; case names are numbers with leading zeros if not given."""
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
        }
    )
    table.to_csv(run.folder / "per_case.csv", index=False)
    record = {f"{name}_sha256": f"{dataset}-{name}-".ljust(64, "0") for name in ("code", "data", "backbone")}
    record |= {"mode": "portable", "configuration": {"variant": {"kind": kind}}}
    (run.folder / "manifest.json").write_text(json.dumps(record))
    shapes = {"down": [64, 8]} if shapes is None else shapes
    header = {"__metadata__": {"seed": str(seed)}}
    header |= {name: {"dtype": "F32", "shape": shape} for name, shape in shapes.items()}
    text = json.dumps(header).encode()
    (run.folder / "weights.safetensors").write_bytes(len(text).to_bytes(8, "little") + text)
    history = pd.DataFrame(losses, columns=["train_loss", "val_loss"])
    history.insert(0, "epoch", range(1, len(history) + 1))
    history.to_csv(run.folder / "history.csv", index=False)
    return run


def write_dsc_of(results: Path, runs: Sequence[Run]) -> Path:
    """dsc.csv of ``runs`` in ``results``."""
    write_csv(results / "dsc.csv", collect(runs))
    return results / "dsc.csv"


def call(monkeypatch, main: Callable[[], None], *arguments: object) -> None:
    """Run a module's command line in this process."""
    monkeypatch.setattr(sys, "argv", [main.__module__, *map(str, arguments)])
    main()


def forge(path: Path, pattern: str) -> None:
    """Replace the first match of ``pattern`` in a file by a made-up number."""
    forged, count = re.subn(pattern, FORGED, path.read_text(), count=1)
    assert count == 1
    path.write_text(forged)
