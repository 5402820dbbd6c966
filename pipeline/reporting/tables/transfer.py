"""Table ``transfer``: DSC of runs on the test cases of every dataset, trained on one and tested on another."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from pipeline.evaluation.aggregate import Score, measured
from pipeline.evaluation.per_case import read_per_case, summarise
from pipeline.evaluation.provenance import describe_runs
from pipeline.evaluation.readers import AVERAGE
from pipeline.evaluation.runs import Run, listed_runs
from pipeline.reporting.markup import Table, ranks, write
from pipeline.reporting.options import label, parse_options
from pipeline.reporting.tables.scores import DECIMALS, dsc_cell
from pipeline.runtime.errors import run_command

FIGURES = ("cases", "dsc", "iou", "hd95", "misses")
OTHERS = "Mean of the others"
NOTE = (
    "Mean ± standard deviation over seeds of the test set's mean DSC, in percent; no ± for a single seed. Each test "
    "set keeps its own prompts, and its DSC is the mean over their types. On the diagonal: trained and tested on the "
    f"same dataset. {OTHERS}: over the datasets that the model was not trained on, within each seed, then over seeds. "
    "Best of each column bold, second best underlined; values equal as shown share the mark."
)


def collect(runs: Sequence[Run], scores: Path) -> pd.DataFrame:
    """One row per run and test dataset: its identity, and :data:`FIGURES` as in dsc.csv (0..1; hd95 in pixels)."""
    rows = []
    for run in runs:
        per_case = read_per_case(run.within(scores), ["test_dataset"])
        for dataset, cases in per_case.groupby("test_dataset", sort=False):
            figures = summarise(cases)
            identity = {"variant": run.variant, "train_dataset": run.dataset, "test_dataset": dataset}
            rows.append(identity | {"seed": run.seed} | {name: figures[name] for name in FIGURES})
    return pd.DataFrame(rows)


def _row(rows: pd.DataFrame, variant: str, trained_on: str, columns: Sequence[str]) -> list[Score | None]:
    """Scores of a variant that was trained on one dataset: by test dataset, then averaged over the others."""
    rows = rows.rename(columns={"test_dataset": "dataset"})
    scores = measured(rows, variant, columns)
    others = [dataset for dataset in columns if dataset != trained_on]
    return [*(scores[column] for column in columns), measured(rows, variant, others)[AVERAGE] if others else None]


def build(runs: Sequence[Run], scores: Path, labels: Mapping[str, str]) -> tuple[pd.DataFrame, Table]:
    """The table of ``runs``, machine-readable and for print.

    Args:
        scores: folder with DATASET/VARIANT/seedN/per_case.csv of each run (:mod:`pipeline.evaluation.score_run`).
        labels: display names of variants and datasets.

    Returns:
        One row per run and test dataset; and means over seeds, one row per training dataset.

    Raises:
        PipelineError: the scores of a run are missing or damaged.
    """
    frame = collect(runs, scores)
    # Datasets in the order of the runs, then those that are only tested on.
    tested = set(frame["test_dataset"])
    columns = [name for name in dict.fromkeys([*frame["train_dataset"], *frame["test_dataset"]]) if name in tested]
    groups = list(dict.fromkeys((run.variant, run.dataset) for run in runs))
    cells = [
        _row(frame[(frame["variant"] == variant) & (frame["train_dataset"] == dataset)], variant, dataset, columns)
        for variant, dataset in groups
    ]
    marks = [ranks([score and score.mean for score in column], DECIMALS) for column in zip(*cells, strict=True)]
    printed = [
        (
            f"{label(labels, variant)}, {label(labels, dataset)}",
            [dsc_cell(score, mark[at]) for score, mark in zip(row, marks, strict=True)],
        )
        for at, ((variant, dataset), row) in enumerate(zip(groups, cells, strict=True))
    ]
    table = Table(
        title="Cross-dataset transfer: DSC (%) of a model trained on one dataset (row) and tested on another (column)",
        header=["Trained on", *(label(labels, column) for column in columns), OTHERS],
        rows=printed,
        footnotes=[NOTE],
    )
    return frame, table


def main() -> None:
    options = parse_options(__doc__, "results", "runs", "scores")
    runs = listed_runs(options.results, options.runs)
    made_from = describe_runs(runs, lambda run: [run.within(options.scores) / "per_case.csv"])
    write(*build(runs, options.scores, options.labels), options, made_from)


if __name__ == "__main__":
    run_command(main)
