"""tuning.json: the validation DSC of every trial of the rates, and the one that each method takes.

    python -m pipeline.evaluation.tuning --results R --trials JSON --datasets JSON --seed 41 --output R/tuning.json

A run counts with the best validation DSC of its history.csv. The trial with the highest mean over the datasets is
taken, of equals the one whose rates are nearest the method's own. Trials are not scored on test cases.
"""

import argparse
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.evaluation.readers import read_table
from pipeline.evaluation.runs import Run, run_of
from pipeline.runtime.atomic import read_json, write_json
from pipeline.runtime.errors import PipelineError, run_command
from pipeline.runtime.options import json_value
from pipeline.training.tuned import CHOSEN


def best_validation(run: Run) -> float | None:
    """The best validation DSC (0..1) of ``run``; None if it diverged.

    Raises:
        PipelineError: history.csv or manifest.json is missing or broken, or no epoch was trained.
    """
    path = run.folder / "history.csv"
    if read_json(run.folder / "manifest.json", dict, "train the run again").get("diverged"):
        return None
    best = read_table(path, ["val_dsc"])["val_dsc"].max()
    if math.isnan(best):
        raise PipelineError(f"{path}: no epoch with a validation DSC; list methods that are trained in tuning.variants")
    return float(best)


def tune(
    results: str | Path, trials: Mapping[str, Sequence[Mapping[str, Any]]], datasets: Sequence[str], seed: int
) -> dict[str, Any]:
    """Every trial with its validation DSC, and the choice of each method.

    Args:
        results: folder in which runs/ lies.
        trials: by method: variant, factor (of the method's own rates) and rates of each.
        datasets: on which each was run, with ``seed``.

    Returns:
        JSON-ready: datasets, seed, and of each method ``trials`` and ``chosen``: the entries of ``trials`` with val_dsc
        by dataset and its mean (0..1), null where a run diverged.

    Raises:
        PipelineError: a run is missing or broken, or no trial of a method went through.
    """
    methods = {}
    for method, points in trials.items():
        found = []
        for point in points:
            scores = {name: best_validation(run_of(results, name, point["variant"], seed)) for name in datasets}
            whole = None not in scores.values()
            found.append({**point, "val_dsc": scores, "mean": sum(scores.values()) / len(scores) if whole else None})
        whole = [point for point in found if point["mean"] is not None]
        if not whole:
            raise PipelineError(f"{method}: every trial diverged; give tuning.factors smaller ones")
        chosen = min(whole, key=lambda point: (-point["mean"], abs(math.log(point["factor"])), point["factor"]))
        methods[method] = {"trials": found, CHOSEN: chosen}
    return {"datasets": list(datasets), "seed": seed, "methods": methods}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", required=True, help="results folder, in which runs/ lies")
    trials = "JSON object: variant, factor and rates of each method's trials"
    parser.add_argument("--trials", type=json_value("--trials", dict), required=True, help=trials)
    parser.add_argument("--datasets", type=json_value("--datasets", list), required=True, help="JSON list")
    parser.add_argument("--seed", type=int, required=True, help="of the trials")
    parser.add_argument("--output", required=True, help="tuning.json")
    options = parser.parse_args()
    write_json(options.output, tune(options.results, options.trials, options.datasets, options.seed))


if __name__ == "__main__":
    run_command(main)
