"""dsc.csv: one row a run, recomputed from its per-case scores."""

import argparse
import json
import math
from collections.abc import Iterable

import pandas as pd

from pipeline.evaluation.per_case import SCORES, read_per_case, summarise
from pipeline.evaluation.runs import Run, add_run_options, chosen_runs
from pipeline.runtime.atomic import write_csv
from pipeline.runtime.errors import PipelineError, run_command

COLUMNS = ["dataset", "variant", "seed", "cases", *SCORES, "misses"]
TOLERANCE = 1e-9


def _check(run: Run, figures: dict) -> None:
    """Whether summary.json says what the per-case scores say."""
    path = run.folder / "summary.json"
    mend = "evaluate the run again (pipeline.evaluation.score_run)"
    try:
        summary = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise PipelineError(f"{path}: cannot be read ({error}); {mend}") from None
    for key in ("cases", *SCORES, "misses"):
        value = summary.get(key) if isinstance(summary, dict) else None
        same = isinstance(value, int | float) and math.isclose(
            value, figures[key], rel_tol=TOLERANCE, abs_tol=TOLERANCE
        )
        if not same:
            raise PipelineError(f"{path}: {key} is {value}, but per_case.csv gives {figures[key]}; {mend}")


def collect(runs: Iterable[Run]) -> pd.DataFrame:
    """Summarise runs.

    Args:
        runs: Run folders with per_case.csv and summary.json.

    Returns:
        One row a run, in the order given, columns :data:`COLUMNS`; dsc and iou are means over cases in 0..1, hd95 in
        pixels, misses a count (see :func:`pipeline.evaluation.per_case.summarise`).

    Raises:
        PipelineError: a file is missing or damaged, or summary.json differs from the per-case scores.
    """
    rows = []
    for run in runs:
        figures = summarise(read_per_case(run.folder))
        _check(run, figures)
        rows.append({"dataset": run.dataset, "variant": run.variant, "seed": run.seed, **figures})
    return pd.DataFrame(rows, columns=COLUMNS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_run_options(parser)
    parser.add_argument("--output", required=True, help="the CSV to write")
    arguments = parser.parse_args()
    write_csv(arguments.output, collect(chosen_runs(arguments)))


if __name__ == "__main__":
    run_command(main)
