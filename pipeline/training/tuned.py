"""Runs with tuned rates: what was chosen, and runs that were trained with the same rates already."""

import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pipeline.runtime.atomic import atomic_path, read_json, write_json
from pipeline.runtime.errors import PipelineError

CHOSEN = "chosen"
RUN_FILES = ("weights.safetensors", "history.csv")
"""What a training writes beside manifest.json."""


def chosen_rates(tuning: str | Path, method: str) -> dict[str, Any]:
    """The training settings that the trials of ``method`` chose.

    Args:
        tuning: tuning.json (pipeline.evaluation.tuning).

    Raises:
        PipelineError: the file is missing or broken, or has no trials of ``method``.
    """
    fix = "run the rule tuning again"
    methods = read_json(tuning, dict, fix).get("methods", {})
    try:
        return methods[method][CHOSEN]["rates"]
    except (KeyError, TypeError):
        raise PipelineError(f"{tuning}: no chosen rates of {method!r}; {fix}") from None


def take_over(folders: Iterable[Path], output: Path, name: str, identity: dict[str, Any]) -> Path | None:
    """Copy a run that was trained alike, so that it is not trained twice.

    Args:
        folders: of runs.
        output: where its files go; the manifest says under ``copied_from`` whose they are.
        name: what the manifest calls the copy.
        identity: entries of a manifest that decide what a run is.

    Returns:
        The folder of the run that was copied; None if none is the same.
    """
    identity = json.loads(json.dumps(identity))
    for folder in folders:
        record = read_json(folder / "manifest.json", dict, "train the run again")
        if {key: record.get(key) for key in identity} == identity:
            output.mkdir(parents=True, exist_ok=True)
            for file in RUN_FILES:
                with atomic_path(output / file) as path:
                    shutil.copyfile(folder / file, path)
            write_json(output / "manifest.json", record | {"run": name, "copied_from": record["run"]})
            return folder
    return None
