"""Table ``transfer``: DSC of runs on the test cases of every dataset, trained on one and tested on another.

python -m pipeline.reporting.tables.transfer --runs '["results/runs/busi/telescopic/seed41"]' --scores results/transfer
    --output results/tables/transfer
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from pipeline.evaluation.aggregate import Score, measured
from pipeline.evaluation.per_case import read_per_case, summarise
from pipeline.evaluation.readers import (
    AVERAGE,
    add_scores_options,
    dataset_label,
    dataset_order,
    variant_label,
)
from pipeline.evaluation.runs import Run, chosen_runs
from pipeline.reporting.markup import Table, ranks
from pipeline.reporting.tables.scores import DECIMALS, dsc_cell, with_provenance, write
from pipeline.runtime.errors import run_command

FIGURES = ("cases", "dsc", "iou", "hd95", "misses")
OTHERS = "Mean of the others"
NOTE = (
    "Mean ± standard deviation over seeds of the test set's mean DSC, in percent; no ± where there is one seed. "
    f"Each test set keeps its own prompts. On the diagonal: trained and tested on the same dataset. {OTHERS}: over "
    "the datasets that the model was not trained on, within each seed, then over seeds. Best of each column bold, "
    "second underlined; values equal as shown share the mark."
)


def collect(runs: Sequence[Run], scores: Path) -> pd.DataFrame:
    """One row a run and test dataset: variant, train_dataset, test_dataset, seed and the figures of dsc.csv (0..1)."""
    rows = []
    for run in runs:
        per_case = read_per_case(run.within(scores), ["test_dataset"])
        for dataset, cases in per_case.groupby("test_dataset", sort=False):
            figures = summarise(cases)
            identity = {
                "variant": run.variant,
                "train_dataset": run.dataset,
                "test_dataset": dataset,
                "seed": run.seed,
            }
            rows.append(identity | {name: figures[name] for name in FIGURES})
    return pd.DataFrame(rows)


def _row(rows: pd.DataFrame, variant: str, trained_on: str, columns: Sequence[str]) -> list[Score | None]:
    """Scores of a variant that was trained on one dataset: by test dataset, then averaged over the others."""
    rows = rows.rename(columns={"test_dataset": "dataset"})
    scores = measured(rows, variant, columns)
    others = [dataset for dataset in columns if dataset != trained_on]
    return [*(scores[column] for column in columns), measured(rows, variant, others)[AVERAGE] if others else None]


def build(runs: Sequence[Run], scores: str | Path, labels: Mapping[str, str], note: str) -> tuple[pd.DataFrame, Table]:
    """The table of ``runs``, for machines and for print.

    Args:
        scores: folder with DATASET/VARIANT/seedN/per_case.csv of each run (:mod:`pipeline.evaluation.score_transfer`).
        labels: name of each variant in print.
        note: provenance that the table shows; may be empty.

    Returns:
        One row a run and test dataset; and means over seeds, a row for each training dataset.

    Raises:
        PipelineError: the scores or the manifest of a run are missing or damaged.
    """
    scores = Path(scores)
    frame = collect(runs, scores)
    columns = dataset_order(frame["test_dataset"])
    groups = [
        (variant, dataset)
        for variant in dict.fromkeys(frame["variant"])
        for dataset in dataset_order(frame.loc[frame["variant"] == variant, "train_dataset"])
    ]
    cells = [
        _row(frame[(frame["variant"] == variant) & (frame["train_dataset"] == dataset)], variant, dataset, columns)
        for variant, dataset in groups
    ]
    marks = [
        ranks([None if score is None else score.mean for score in column], DECIMALS)
        for column in zip(*cells, strict=True)
    ]
    printed = [
        (
            f"{variant_label(labels, variant)}, {dataset_label(dataset)}",
            [dsc_cell(score, mark[at]) for score, mark in zip(row, marks, strict=True)],
        )
        for at, ((variant, dataset), row) in enumerate(zip(groups, cells, strict=True))
    ]
    table = Table(
        title="Cross-dataset transfer: DSC (%) of a model trained on one dataset (row) and tested on another (column)",
        header=["Trained on", *map(dataset_label, columns), OTHERS],
        rows=printed,
        footnotes=[NOTE],
        note=note,
        label="transfer",
        rules=frozenset(at for at in range(1, len(groups)) if groups[at][0] != groups[at - 1][0]),
    )
    return frame, with_provenance(table, runs, lambda run: [run.within(scores)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_scores_options(parser, "on every dataset")
    arguments = parser.parse_args()
    frame, table = build(chosen_runs(arguments), arguments.scores, arguments.labels, arguments.note)
    write(frame, table, arguments.output)


if __name__ == "__main__":
    run_command(main)
