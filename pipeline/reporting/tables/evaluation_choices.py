"""Table ``evaluation_choices``: how far DSC depends on the size it is computed at and on cases without a target.

python -m pipeline.reporting.tables.evaluation_choices --runs '["results/runs/busi/telescopic/seed41"]' --side 352
    --scores results/evaluation_choices --output results/tables/evaluation_choices
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.evaluation.aggregate import Score, measured
from pipeline.evaluation.per_case import read_per_case
from pipeline.evaluation.readers import (
    AVERAGE,
    add_scores_options,
    dataset_label,
    variant_label,
)
from pipeline.evaluation.runs import Run, chosen_runs
from pipeline.reporting.markup import NOT_AVAILABLE, Cell, Table, ranks
from pipeline.reporting.tables.scores import DECIMALS, dsc_cell, with_provenance, write
from pipeline.runtime.errors import PipelineError, run_command

CHOICES = ("original", "input_size", "with_target", "without_target")
NOTE = (
    "Mean ± standard deviation over seeds of the mean DSC over cases, in percent; no ± where there is one seed. "
    "Original size: as everywhere else in this study, predictions upsampled and compared there. Input size: targets "
    "resized to the {side} x {side} pixels of the model's input (nearest neighbour), predictions as they are. With "
    "target: original size, without the cases whose target is empty (BUSI's normal images); empty targets: these "
    "alone, each 1 if nothing is predicted, else 0. Δ: less the original size, points. Best of a dataset bold, "
    f"second underlined. {NOT_AVAILABLE}: all cases have a target, or no average. "
    "Average: over datasets within each seed, then over seeds."
)


def _scores(run: Run, scores: Path) -> dict[str, Any]:
    """Cases and mean DSC (0..1; NaN over no case) of one run under each choice."""
    own, resized = read_per_case(run.folder), read_per_case(run.within(scores))
    for column in ("case", "prompt"):
        if list(own[column]) != list(resized[column]):
            raise PipelineError(
                f"{run.within(scores)}/per_case.csv: its {column}s are not those of {run.folder}/per_case.csv; "
                "evaluate both again"
            )
    target = own["target_pixels"] > 0
    return {
        "dataset": run.dataset,
        "variant": run.variant,
        "seed": run.seed,
        "cases": len(own),
        "cases_with_target": int(target.sum()),
        "original": own["dsc"].mean(),
        "input_size": resized["dsc"].mean(),
        "with_target": own.loc[target, "dsc"].mean(),
        "without_target": own.loc[~target, "dsc"].mean(),
    }


def _measured(frame: pd.DataFrame, variants: Sequence[str], datasets: Sequence[str]) -> dict[tuple, Score | None]:
    """Score by choice, dataset (the average too) and variant."""
    result: dict[tuple, Score | None] = {}
    for choice in CHOICES:
        table = frame.assign(dsc=frame[choice])
        for variant in variants:
            for dataset, score in measured(table, variant, datasets).items():
                result[choice, dataset, variant] = score
    return result


def _record(scores: Mapping[str, Score | None]) -> dict[str, Any]:
    record: dict[str, Any] = {}
    for choice, score in scores.items():
        record[choice] = None if score is None else round(score.mean, 6)
        record[f"{choice}_sd"] = None if score is None or score.sd is None else round(score.sd, 6)
    return record


def _difference(score: Score | None, base: Score | None) -> Cell:
    return Cell(NOT_AVAILABLE if score is None or base is None else f"{score.mean - base.mean:+.{DECIMALS}f}")


def build(
    runs: Sequence[Run], scores: str | Path, side: int, labels: Mapping[str, str], note: str
) -> tuple[pd.DataFrame, Table]:
    """The table of ``runs``, for machines and for print; datasets and variants keep the order of the runs.

    Args:
        scores: folder with DATASET/VARIANT/seedN/per_case.csv of each run, scored at the model's input size
            (:mod:`pipeline.evaluation.score_run`).
        side: of the model's input, pixels.
        labels: name of each variant in print.
        note: provenance that the table shows; may be empty.

    Raises:
        PipelineError: scores are missing or damaged, or the two of a run are of other cases or prompts.
    """
    scores = Path(scores)
    frame = pd.DataFrame([_scores(run, scores) for run in runs])
    datasets, variants = (list(dict.fromkeys(frame[column])) for column in ("dataset", "variant"))
    of = _measured(frame, variants, datasets)
    counts = frame.groupby(["dataset", "variant"])[["cases", "cases_with_target"]].first()
    records, printed, rules = [], [], set()
    for dataset in [*datasets, AVERAGE] if len(datasets) > 1 else datasets:
        present = [variant for variant in variants if of["original", dataset, variant] is not None]
        marks = {
            choice: ranks([_mean(of[choice, dataset, variant]) for variant in present], DECIMALS) for choice in CHOICES
        }
        if printed:
            rules.add(len(printed))
        for at, variant in enumerate(present):
            row = {choice: of[choice, dataset, variant] for choice in CHOICES}
            if dataset == AVERAGE:
                # Few datasets have empty targets at all.
                row["without_target"] = None
                cases, targets = counts.xs(variant, level="variant").sum()
            else:
                cases, targets = counts.loc[(dataset, variant)]
            cell = {
                choice: dsc_cell(score, None if score is None else marks[choice][at]) for choice, score in row.items()
            }
            if targets == cases:
                cell["with_target"] = Cell()
            cells = [
                *(Cell(dataset_label(dataset)), Cell(str(cases)), cell["original"]),
                *(cell["input_size"], _difference(row["input_size"], row["original"])),
                *(
                    Cell(str(targets)),
                    cell["with_target"],
                    _difference(row["with_target"] if targets < cases else None, row["original"]),
                ),
                *(Cell(str(cases - targets)), cell["without_target"]),
            ]
            printed.append((variant_label(labels, variant), cells))
            identity = {"dataset": dataset, "variant": variant, "label": variant_label(labels, variant)}
            identity |= {"seeds": row["original"].seeds, "cases": cases, "cases_with_target": targets}
            records.append(identity | {"input_side": side} | _record(row))
    table = Table(
        title="DSC (%) by the size it is computed at, and with and without cases that have no target",
        header=[
            *("Variant", "Dataset", "Cases", "Original size", f"Input size ({side} x {side})", "Δ"),
            *("Cases with target", "With target", "Δ", "Empty targets", "Empty targets alone"),
        ],
        rows=printed,
        footnotes=[NOTE.format(side=side)],
        note=note,
        label="evaluation_choices",
        rules=frozenset(rules),
    )
    return pd.DataFrame(records), with_provenance(table, runs, lambda run: [run.folder, run.within(scores)])


def _mean(score: Score | None) -> float | None:
    return None if score is None else score.mean


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_scores_options(parser, "at the input size")
    parser.add_argument("--side", type=int, required=True, help="side of the model's input, pixels")
    arguments = parser.parse_args()
    frame, table = build(chosen_runs(arguments), arguments.scores, arguments.side, arguments.labels, arguments.note)
    write(frame, table, arguments.output)


if __name__ == "__main__":
    run_command(main)
