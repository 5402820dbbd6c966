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
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.evaluation.csv_table import read_table
from pipeline.evaluation.per_case import read_per_case
from pipeline.evaluation.provenance import read_manifest
from pipeline.evaluation.readers import read_dsc
from pipeline.evaluation.runs import Run, listed_runs
from pipeline.runtime.atomic import write_json
from pipeline.runtime.errors import PipelineError, run_command
from pipeline.runtime.manifest import versions

EXACT = {
    "mode": "numerical mode",
    "cases": "number of test cases",
    "trained_parameters": "trained parameters",
    "trained_tensors": "names and shapes of the trained tensors",
    "prompts": "prompts of the test cases",
    "targets": "targets of the test cases",
}
LOSSES = {"train_loss": "training loss of the first epoch", "val_loss": "validation loss of the first epoch"}


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _trained(run: Run) -> dict[str, list[int]]:
    """Shapes of the tensors in weights.safetensors, by name, read from the file's header."""
    path = run.folder / "weights.safetensors"
    try:
        with path.open("rb") as file:
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    except (OSError, ValueError) as error:
        raise PipelineError(f"{path}: cannot be read ({error}); train the run again") from None
    return {name: entry["shape"] for name, entry in header.items() if name != "__metadata__"}


def facts(run: Run) -> dict[str, Any]:
    """What a baseline holds of one run, JSON-ready: its identity, mean DSC (points) and facts.

    ``train_loss`` and ``val_loss`` are None where nothing was trained.
    """
    per_case = read_per_case(run.folder)
    trained = _trained(run)
    history = read_table(run.folder / "history.csv", ["epoch", *LOSSES])
    return {
        "dataset": run.dataset,
        "variant": run.variant,
        "seed": run.seed,
        "dsc": round(float(per_case["dsc"].mean()) * 100, 9),
        "mode": read_manifest(run).get("mode"),
        "cases": len(per_case),
        "trained_parameters": sum(math.prod(shape) for shape in trained.values()),
        "trained_tensors": _digest(trained),
        "prompts": _digest(per_case[["case", "prompt"]].to_numpy().tolist()),
        "targets": _digest(per_case[["case", "target_pixels"]].astype(str).to_numpy().tolist()),
        **{name: float(history[name].iloc[0]) if len(history) else None for name in LOSSES},
    }


def all_facts(dsc: Path) -> list[dict[str, Any]]:
    """:func:`facts` of each run that has a row in ``dsc`` (dsc.csv; the runs lie in ``runs/`` beside it).

    Raises:
        PipelineError: a run's file is missing, or dsc.csv disagrees with the per-case scores.
    """
    runs, table = listed_runs(dsc.parent, dsc), read_dsc(dsc)
    result = [facts(run) for run in runs]
    for run, found, value in zip(runs, result, table["dsc"], strict=True):
        if abs(found["dsc"] - value * 100) > 1e-6:
            raise PipelineError(f"{dsc}: its DSC of {run.folder} disagrees with per_case.csv; collect the runs again")
    return result


def differences(found: Mapping[str, Any], expected: Mapping[str, Any], tolerance: float, loss: float) -> list[str]:
    """How the facts of a run (:func:`facts`) differ from those of the baseline, a line each.

    Args:
        tolerance: Largest difference of the DSC, points.
        loss: Largest relative difference of a loss.
    """
    lines = []
    if abs(found["dsc"] - expected["dsc"]) > tolerance:
        lines.append(f"DSC {found['dsc']:.3f}, baseline {expected['dsc']:.3f}, tolerance {tolerance:g}")
    for key, name in EXACT.items():
        if found[key] != expected[key]:
            digest = key not in ("mode", "cases", "trained_parameters")
            lines.append(f"{name} changed" if digest else f"{name}: {found[key]}, baseline {expected[key]}")
    for key, name in LOSSES.items():
        values = found[key], expected[key]
        same = values[0] == values[1] or (None not in values and math.isclose(*values, rel_tol=loss))
        if not same:
            lines.append(f"{name}: {values[0]}, baseline {values[1]}, relative tolerance {loss:g}")
    return lines


def read_baseline(path: str | Path) -> dict[str, Any]:
    """A baseline: tolerance, loss_tolerance, versions, commit, runs.

    Raises:
        PipelineError: the file is missing or is not a baseline.
    """
    fix = "write it again with pipeline.evaluation.baseline"
    try:
        record = json.loads(Path(path).read_text(encoding="utf-8"))
        keys = {"dataset", "variant", "seed", "dsc", *EXACT, *LOSSES}
        missing = sorted({"tolerance", "loss_tolerance", "versions", "runs"} - set(record)) or sorted(
            {key for run in record["runs"] for key in keys - set(run)}
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PipelineError(f"{path}: cannot be read ({error!r}); {fix}") from None
    if missing:
        raise PipelineError(f"{path}: {', '.join(missing)} missing; {fix}")
    return record


def _by_run(runs: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {f"{run['dataset']}/{run['variant']}/seed{run['seed']}": run for run in runs}


def compare_with_baseline(dsc: Path, baseline: Path) -> str:
    """Compare all runs of ``dsc`` (dsc.csv) with ``baseline``; a sentence that confirms it if they agree.

    Raises:
        PipelineError: something differs, or a run is in one of the two only; the message lists all differences.
    """
    record = read_baseline(baseline)
    expected, found = _by_run(record["runs"]), _by_run(all_facts(dsc))
    lines = []
    for name in sorted(expected.keys() | found.keys()):
        if name not in found:
            lines.append(f"  {name}: not run")
        elif name not in expected:
            lines.append(f"  {name}: not in the baseline")
        else:
            changes = differences(found[name], expected[name], record["tolerance"], record["loss_tolerance"])
            lines += [f"  {name}: {line}" for line in changes]
    if lines:
        now = versions()
        changed = [
            f"{name} {now.get(name, 'absent')} (baseline {version})"
            for name, version in record["versions"].items()
            if now.get(name) != version
        ]
        cause = f"\nversions that differ: {', '.join(changed)}" if changed else ""
        raise PipelineError(
            f"{dsc} differs from {baseline}\n" + "\n".join(lines) + cause + "\nif the change is intended: commit it, "
            "run again, then python -m pipeline.evaluation.baseline write"
        )
    return f"{len(found)} runs as in {baseline}"


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=True)
    except FileNotFoundError:
        raise PipelineError("git is not installed; a baseline names the commit it was made from") from None
    except subprocess.CalledProcessError as error:
        raise PipelineError(
            f"git {' '.join(arguments)}: {error.stderr.strip()}; run this in a clone of the repository"
        ) from None
    return done.stdout.rstrip()


def clean_commit() -> str:
    """The commit of the working tree.

    Raises:
        PipelineError: there are changes or untracked files, so that no commit has the code the results came from.
    """
    changes = _git("status", "--porcelain").splitlines()
    if changes:
        shown = "\n".join(f"  {line}" for line in changes[:10])
        more = f"\n  and {len(changes) - 10} more" if len(changes) > 10 else ""
        raise PipelineError(f"the working tree has uncommitted changes; commit them first\n{shown}{more}")
    return _git("rev-parse", "HEAD")


def _compare(arguments: argparse.Namespace) -> None:
    print(compare_with_baseline(arguments.dsc, arguments.baseline), file=sys.stderr)


def _write(arguments: argparse.Namespace) -> None:
    commit = clean_commit()
    runs = all_facts(arguments.dsc)
    for name, run in _by_run(runs).items():
        if run["mode"] != "portable":
            raise PipelineError(
                f"{arguments.dsc}: {name} was computed in mode {run['mode']!r}, whose numbers differ between "
                "processors; set jobs.portable to true (workflow/config/portable.yaml), and run again"
            )
    record = {
        "commit": commit,
        "versions": versions(),
        "tolerance": arguments.tolerance,
        "loss_tolerance": arguments.loss_tolerance,
        "runs": runs,
    }
    write_json(arguments.output, record)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    comparing = commands.add_parser("compare", help="exit with status 1 if a run differs from the baseline")
    comparing.set_defaults(run=_compare)
    writing = commands.add_parser("write", help="write a new baseline")
    writing.set_defaults(run=_write)
    for command in (comparing, writing):
        command.add_argument("--dsc", type=Path, required=True, help="dsc.csv; the runs lie in runs/ beside it")
    comparing.add_argument("--baseline", type=Path, required=True, help="the baseline to compare with")
    writing.add_argument("--tolerance", type=float, default=1.0, help="largest difference of a run's DSC, points")
    writing.add_argument("--loss-tolerance", type=float, default=1e-3, help="largest relative difference of a loss")
    writing.add_argument("--output", required=True, help="the baseline to write")
    arguments = parser.parse_args()
    arguments.run(arguments)


if __name__ == "__main__":
    run_command(main)
