"""Scores that the process that trained a run has kept for the rule that scores it."""

import argparse
import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from pipeline.models.kinds import parse_variant
from pipeline.models.weights import read_variant
from pipeline.runtime.atomic import atomic_folder, write_csv, write_text
from pipeline.runtime.code import digest
from pipeline.runtime.manifest import file_sha256

FOLDER, FINGERPRINT = "scores", "fingerprint"
FILES = ("output", "per_prompt", "calibration", "thresholds")
"""Options that name the files that are kept."""
OPTIONS = ("prompt_type", "by", "threshold", "masks", "mirror", "batch_size", "threads")


def _fingerprint(options: argparse.Namespace) -> str:
    kind = parse_variant(read_variant(options.weights))
    parts = {
        "code": digest("pipeline.evaluation.score_run", type(kind).__module__),
        "weights": file_sha256(options.weights),
        "backbone": file_sha256(options.backbone / "model.safetensors"),
        "tensors": {folder.name: file_sha256(folder / "cases.csv") for folder in options.tensors},
        "options": {name: getattr(options, name) for name in OPTIONS},
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def keep(state: Path, options: argparse.Namespace, tables: Mapping[str, pd.DataFrame]) -> None:
    """Keep a run's scores beside its ``state``, with all that they depend on: code, weights, data and ``options``.

    Args:
        options: of the command line of :mod:`pipeline.evaluation.score_run`.
        tables: for each of :data:`FILES`.
    """
    with atomic_folder(state / FOLDER) as folder:
        for name in FILES:
            write_csv(folder / f"{name}.csv", tables[name])
        write_text(folder / FINGERPRINT, _fingerprint(options))


def take(state: Path, options: argparse.Namespace) -> bool:
    """Move what was kept to where ``options`` want it, if it is what they would compute; whether it was.

    Nothing is kept any longer afterwards.
    """
    folder = state / FOLDER
    if not folder.is_dir():
        return False
    same = (folder / FINGERPRINT).read_text() == _fingerprint(options)
    if same:
        for name in FILES:
            (folder / f"{name}.csv").replace(getattr(options, name))
    shutil.rmtree(folder)
    if not any(state.iterdir()):
        state.rmdir()
    return same
