"""The demo's baseline: recorded once in tests/regression/demo.json, and compared with every later run of the demo.

python -m pipeline.evaluation.baseline compare --dsc results/portable/dsc.csv --baseline tests/regression/demo.json
python -m pipeline.evaluation.baseline write --dsc results/portable/dsc.csv --output tests/regression/demo.json

The DSC on a handful of phantom images moves little when something breaks. So besides the DSC a baseline holds facts
that do move: names and shapes of the trained tensors, prompts and targets of the test cases, losses of the first
epoch. ``compare`` exits with status 1 if anything differs; ``write`` refuses uncommitted changes.
"""

import argparse
import hashlib
import json
import math
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from pipeline.evaluation.csv_table import read_table
from pipeline.evaluation.per_case import read_per_case, read_per_prompt
from pipeline.evaluation.provenance import read_origin
from pipeline.evaluation.runs import IDENTITY, Run, listed_runs
from pipeline.runtime.atomic import write_json
from pipeline.runtime.errors import PipelineError, run_command
from pipeline.runtime.manifest import versions

VALUES = {"mode": "numerical mode", "cases": "number of test cases", "trained_parameters": "trained parameters"}
DIGESTS = {
    "trained_tensors": "names and shapes of the trained tensors",
    "prompts": "prompts of the test cases",
    "targets": "targets of the test cases",
}
LOSSES = {"train_loss": "training loss of the first epoch", "val_loss": "validation loss of the first epoch"}
SETTINGS = ("versions", "tolerance", "loss_tolerance")


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def facts(run: Run) -> dict[str, Any]:
    """What a baseline holds of one run, JSON-ready: its identity, mean DSC (points) and facts.

    ``train_loss`` and ``val_loss`` are None where nothing was trained.

    Raises:
        PipelineError: a file of the run is missing or broken.
    """
    per_case, per_prompt = read_per_case(run.folder), read_per_prompt(run.folder)
    history = read_table(run.folder / "history.csv", ["epoch", *LOSSES])
    path = run.folder / "weights.safetensors"
    try:
        with safe_open(path, framework="numpy") as file:
            trained = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise PipelineError(f"{path}: cannot be read ({error}); train the run again") from None
    return {
        "dataset": run.dataset,
        "variant": run.variant,
        "seed": run.seed,
        "dsc": round(float(per_case["dsc"].mean()) * 100, 9),
        "mode": read_origin(run).mode,
        "cases": len(per_case),
        "trained_parameters": sum(math.prod(shape) for shape in trained.values()),
        "trained_tensors": _digest(trained),
        "prompts": _digest(per_prompt[["prompt_type", "case", "prompt"]].to_numpy().tolist()),
        "targets": _digest(per_case[["case", "target_pixels"]].astype(str).to_numpy().tolist()),
        **{name: float(history[name].iloc[0]) if len(history) else None for name in LOSSES},
    }


def differences(found: Mapping[str, Any], expected: Mapping[str, Any], tolerance: float, loss: float) -> list[str]:
    """How the facts of a run (:func:`facts`) differ from those of the baseline, a line each.

    Args:
        tolerance: Largest difference of the DSC, points.
        loss: Largest relative difference of a loss.
    """
    lines = []
    if abs(found["dsc"] - expected["dsc"]) > tolerance:
        lines.append(f"DSC {found['dsc']:.3f}, baseline {expected['dsc']:.3f}, tolerance {tolerance:g}")
    for key, name in VALUES.items():
        if found[key] != expected[key]:
            lines.append(f"{name}: {found[key]}, baseline {expected[key]}")
    lines += [f"{name} changed" for key, name in DIGESTS.items() if found[key] != expected[key]]
    for key, name in LOSSES.items():
        values = found[key], expected[key]
        same = values[0] == values[1] or (None not in values and math.isclose(*values, rel_tol=loss))
        if not same:
            lines.append(f"{name}: {values[0]}, baseline {values[1]}, relative tolerance {loss:g}")
    return lines


def _all_facts(dsc: Path) -> list[dict[str, Any]]:
    return [facts(run) for run in listed_runs(dsc.parent, dsc)]


def _by_run(runs: Sequence[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    return {f"{run['dataset']}/{run['variant']}/seed{run['seed']}": run for run in runs}


def compare_with_baseline(dsc: Path, baseline: Path) -> str:
    """Compare all runs that ``dsc`` (dsc.csv) lists with ``baseline``; a sentence that confirms it if they agree.

    Raises:
        PipelineError: a file is missing or is no baseline, something differs, or a run is in one of the two only; the
            message lists all differences.
    """
    keys = (*IDENTITY, "dsc", *VALUES, *DIGESTS, *LOSSES)
    try:
        record = json.loads(baseline.read_text(encoding="utf-8"))
        expected = _by_run([{key: run[key] for key in keys} for run in record["runs"]])
        recorded, *tolerances = (record[key] for key in SETTINGS)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PipelineError(f"{baseline}: no usable baseline ({error!r}); restore it or write a new one") from None
    found = _by_run(_all_facts(dsc))
    lines = []
    for name in sorted(expected.keys() | found.keys()):
        if name not in found:
            lines.append(f"  {name}: not run")
        elif name not in expected:
            lines.append(f"  {name}: not in the baseline")
        else:
            lines += [f"  {name}: {line}" for line in differences(found[name], expected[name], *tolerances)]
    if lines:
        now = versions()
        changed = [
            f"{name} {now.get(name, 'absent')} (baseline {version})"
            for name, version in recorded.items()
            if now.get(name) != version
        ]
        cause = f"\nversions that differ: {', '.join(changed)}" if changed else ""
        raise PipelineError(
            f"{dsc} differs from {baseline}\n" + "\n".join(lines) + cause + "\nif the change is intended: commit it, "
            "run again, then python -m pipeline.evaluation.baseline write"
        )
    return f"{len(found)} runs as in {baseline}"


def clean_commit() -> str:
    """The commit of the working tree.

    Raises:
        PipelineError: there are changes or untracked files, so that no commit has the code the results came from.
    """
    try:
        changes, commit = (
            subprocess.run(["git", *command], stdout=subprocess.PIPE, text=True, check=True).stdout.rstrip()
            for command in (["status", "--porcelain"], ["rev-parse", "HEAD"])
        )
    except (OSError, subprocess.CalledProcessError) as error:
        raise PipelineError(f"{error}; a baseline names its commit: run this in a clone of the repository") from None
    if changes:
        raise PipelineError(f"the working tree has uncommitted changes; commit them first\n{changes}")
    return commit


def write_baseline(dsc: Path, output: Path, tolerance: float, loss_tolerance: float) -> None:
    """Record all runs that ``dsc`` (dsc.csv) lists as the baseline ``output``; tolerances as in :func:`differences`.

    Raises:
        PipelineError: there are uncommitted changes, or a run was not computed in portable mode.
    """
    commit, runs = clean_commit(), _all_facts(dsc)
    for name, run in _by_run(runs).items():
        if run["mode"] != "portable":
            raise PipelineError(
                f"{dsc}: {name} was computed in mode {run['mode']!r}, whose numbers differ between processors; set "
                "jobs.portable to true (workflow/config/portable.yaml), and run again"
            )
    settings = dict(zip(SETTINGS, (versions(), tolerance, loss_tolerance), strict=True))
    write_json(output, {"commit": commit, **settings, "runs": runs})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    comparing = commands.add_parser("compare", help="exit with status 1 if a run differs from the baseline")
    writing = commands.add_parser("write", help="write a new baseline")
    for command in (comparing, writing):
        command.add_argument("--dsc", type=Path, required=True, help="dsc.csv; the runs lie in runs/ beside it")
    comparing.add_argument("--baseline", type=Path, required=True, help="the baseline to compare with")
    writing.add_argument("--tolerance", type=float, default=1.0, help="largest difference of a run's DSC, points")
    writing.add_argument("--loss-tolerance", type=float, default=1e-3, help="largest relative difference of a loss")
    writing.add_argument("--output", type=Path, required=True, help="the baseline to write")
    options = parser.parse_args()
    if options.command == "compare":
        print(compare_with_baseline(options.dsc, options.baseline), file=sys.stderr)
    else:
        write_baseline(options.dsc, options.output, options.tolerance, options.loss_tolerance)


if __name__ == "__main__":
    run_command(main)
