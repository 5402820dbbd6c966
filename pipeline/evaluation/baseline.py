"""What a demo run must give again: recorded once in a file under tests/regression, compared ever after.

A DSC on a handful of phantom images moves little when something breaks. So beside the DSC a baseline holds what a
damage does move: shapes and names of the trained tensors, prompts and targets of the test cases, losses of the first
epoch.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.evaluation.per_case import read_per_case
from pipeline.evaluation.provenance import read_manifest
from pipeline.evaluation.readers import read_dsc, read_table
from pipeline.evaluation.runs import Run
from pipeline.runtime.errors import PipelineError
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
    """Shapes of the tensors in weights.safetensors, by name, from the file's header alone."""
    path = run.folder / "weights.safetensors"
    try:
        with path.open("rb") as file:
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    except (OSError, ValueError) as error:
        raise PipelineError(f"{path}: cannot be read ({error}); train the run again") from None
    return {name: entry["shape"] for name, entry in header.items() if name != "__metadata__"}


def observe(run: Run) -> dict[str, Any]:
    """What a baseline holds of one run: its identity, mean DSC (points) and facts, JSON-ready.

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


def observe_all(dsc: str | Path) -> list[dict[str, Any]]:
    """:func:`observe` each run that has a row in ``dsc`` (dsc.csv; the runs lie in ``runs/`` beside it).

    Raises:
        PipelineError: a run's file is missing, or dsc.csv does not say what the per-case scores say.
    """
    result = []
    for row in read_dsc(dsc).itertuples():
        folder = Path(dsc).parent / "runs" / row.dataset / row.variant / f"seed{row.seed}"
        seen = observe(Run(row.dataset, row.variant, int(row.seed), folder))
        if abs(seen["dsc"] - row.dsc * 100) > 1e-6:
            raise PipelineError(f"{dsc}: its DSC of {folder} is not that of per_case.csv; collect the runs again")
        result.append(seen)
    return result


def differences(seen: Mapping[str, Any], expected: Mapping[str, Any], tolerance: float, loss: float) -> list[str]:
    """What of a run, as :func:`observe` has it, is not as ``expected``.

    Args:
        tolerance: Largest difference of the DSC, points.
        loss: Largest relative difference of a loss.
    """
    found = []
    if abs(seen["dsc"] - expected["dsc"]) > tolerance:
        found.append(f"DSC {seen['dsc']:.3f}, baseline {expected['dsc']:.3f}, tolerance {tolerance:g}")
    for key, name in EXACT.items():
        if seen[key] != expected[key]:
            digest = key not in ("mode", "cases", "trained_parameters")
            found.append(f"{name} changed" if digest else f"{name}: {seen[key]}, baseline {expected[key]}")
    for key, name in LOSSES.items():
        values = seen[key], expected[key]
        if (None in values) != (values == (None, None)) or (
            None not in values and not math.isclose(*values, rel_tol=loss)
        ):
            found.append(f"{name}: {values[0]}, baseline {values[1]}, relative tolerance {loss:g}")
    return found


def read_baseline(path: str | Path) -> dict[str, Any]:
    """A baseline: tolerance, loss_tolerance, versions, commit, runs.

    Raises:
        PipelineError: the file is missing or is not a baseline.
    """
    mend = "make it anew with pipeline.evaluation.rebaseline"
    try:
        record = json.loads(Path(path).read_text(encoding="utf-8"))
        keys = {"dataset", "variant", "seed", "dsc", *EXACT, *LOSSES}
        missing = sorted({"tolerance", "loss_tolerance", "versions", "runs"} - set(record)) or sorted(
            {key for run in record["runs"] for key in keys - set(run)}
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PipelineError(f"{path}: cannot be read ({error!r}); {mend}") from None
    if missing:
        raise PipelineError(f"{path}: {', '.join(missing)} missing; {mend}")
    return record


def compare_with_baseline(dsc: str | Path, baseline: str | Path) -> str:
    """Compare all runs of ``dsc`` (dsc.csv) with ``baseline``; a sentence that says so if they agree.

    Raises:
        PipelineError: something differs, or a run stands on one side only; the message lists all of it.
    """
    record = read_baseline(baseline)
    expected = {(run["dataset"], run["variant"], run["seed"]): run for run in record["runs"]}
    seen = {(run["dataset"], run["variant"], run["seed"]): run for run in observe_all(dsc)}
    lines = []
    for key in sorted(expected.keys() | seen.keys()):
        name = f"{key[0]}/{key[1]}/seed{key[2]}"
        if key not in seen:
            lines.append(f"  {name}: not run")
        elif key not in expected:
            lines.append(f"  {name}: not in the baseline")
        else:
            found = differences(seen[key], expected[key], record["tolerance"], record["loss_tolerance"])
            lines += [f"  {name}: {line}" for line in found]
    if lines:
        now = versions()
        changed = [
            f"{name} {now.get(name, 'absent')} (baseline {version})"
            for name, version in record["versions"].items()
            if now.get(name) != version
        ]
        cause = f"\nversions that differ: {', '.join(changed)}" if changed else ""
        raise PipelineError(
            f"{dsc} is not what {baseline} says\n" + "\n".join(lines) + cause + "\nif the change is meant: commit it, "
            "run again, then python -m pipeline.evaluation.rebaseline"
        )
    return f"{len(seen)} runs as in {baseline}"
