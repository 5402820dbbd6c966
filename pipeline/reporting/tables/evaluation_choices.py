"""Table ``evaluation_choices``: how far DSC depends on the size it is computed at, on cases without a target, on which
levels of a mask are foreground, and on what is done with predictions: averages, another threshold."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.data.conventions import CONVENTIONS, CORRECTED, REFERENCE
from pipeline.evaluation.aggregate import Score
from pipeline.evaluation.per_case import read_per_case
from pipeline.evaluation.provenance import describe_runs
from pipeline.evaluation.readers import AVERAGE
from pipeline.evaluation.runs import Run, listed_runs
from pipeline.reporting.formats import NOT_AVAILABLE
from pipeline.reporting.markup import Cell, Table, rules_between, write
from pipeline.reporting.options import label, parse_options
from pipeline.reporting.tables.scores import DECIMALS, Scores, dsc_cell, score_record
from pipeline.runtime.errors import run_command

CHOICES = ("original", "input_size", "with_target", "without_target", "other_masks")
TEST_TIME = {"prompt_ensemble": "Prompt ensemble", "mirror": "Mirror image", "tuned_threshold": "Tuned threshold"}
READ = {
    CORRECTED: "foreground is what reaches level 128 of 255",
    REFERENCE: "foreground is what is above 0, as in the reference's code, the noise of JPEG masks included",
}
NOTE = (
    "Mean ± standard deviation over seeds of the mean DSC over cases, in percent; no ± for a single seed. "
    "Original size: as everywhere else in this study, predictions upsampled and compared there. Input size: targets "
    "resized to the {side} x {side} pixels of the model's input (nearest neighbour), predictions as they are. With "
    "target: original size, without the cases whose target is empty (BUSI's normal images); without target: only "
    "those cases, each 1 if nothing is predicted, else 0. Masks, everywhere else: {own}; {other} masks: {read}. "
    "Δ: minus the original size, points. Best of a dataset bold, second best underlined. "
    f"{NOT_AVAILABLE}: all cases have a target, both ways give the same masks, no average, or not scored. "
    "Average: over datasets within each seed, then over seeds."
)
TEST_TIME_NOTE = (
    "The last columns are differences within a run, mean ± standard deviation over seeds, points. Prompt ensemble: "
    "probabilities averaged over the prompt types, in place of the mean of their scores. Mirror image: probabilities "
    "averaged with those of the horizontal mirror image, turned back, in whose prompts left and right change places. "
    "Tuned threshold: that with the best DSC on the validation cases, of 0.05, 0.10, ..., 0.95."
)


def _mirror(run: Run, mirrored: Mapping[str, Any]) -> Path | None:
    """The folder of the scores of ``run`` that are averaged with its mirror images', if it was scored so."""
    there = mirrored and run.dataset in mirrored["datasets"] and run.seed in mirrored["seeds"].get(run.variant, ())
    return run.within(run.folder.parents[3] / "mirrored") if there else None


def _scores(run: Run, other: str, mirror: Path | None) -> dict[str, Any]:
    """Cases and mean DSC (0..1; NaN over no case) of one run under each choice."""
    cases = read_per_case(run.folder)
    target = cases["target_pixels"] > 0
    return {
        "dataset": run.dataset,
        "variant": run.variant,
        "seed": run.seed,
        "cases": len(cases),
        "cases_with_target": int(target.sum()),
        "original": cases["dsc"].mean(),
        "input_size": cases["dsc_input_size"].mean(),
        "with_target": cases.loc[target, "dsc"].mean(),
        "without_target": cases.loc[~target, "dsc"].mean(),
        "other_masks": cases[f"dsc_{other}"].mean(),
        "prompt_ensemble": cases["dsc_prompt_ensemble"].mean(),
        "mirror": read_per_case(mirror)["dsc"].mean() if mirror else np.nan,
        "tuned_threshold": cases["dsc_tuned_threshold"].mean(),
    }


def _difference(score: Score | None, base: Score | None) -> Cell:
    return Cell(NOT_AVAILABLE if score is None or base is None else f"{score.mean - base.mean:+.{DECIMALS}f}")


def _signed(score: Score | None) -> Cell:
    cell = dsc_cell(score)
    return cell if score is None else replace(cell, value=f"{score.mean:+.{DECIMALS}f}")


def build(
    runs: Sequence[Run], side: int, masks: str, labels: Mapping[str, str], mirrored: Mapping[str, Any]
) -> tuple[pd.DataFrame, Table]:
    """The table of ``runs``, machine-readable and for print; datasets and variants keep the order of the runs.

    Args:
        side: of the model's input, pixels.
        masks: which of :data:`pipeline.data.conventions.CONVENTIONS` the runs were trained and scored with.
        labels: display names of variants and datasets.
        mirrored: datasets and, by variant, seeds of the runs that are scored with their mirror images, too.

    Raises:
        PipelineError: scores of a run are missing or damaged.
    """
    other = next(name for name in CONVENTIONS if name != masks)
    frame = pd.DataFrame([_scores(run, other, _mirror(run, mirrored)) for run in runs])
    same = {name for name, rows in frame.groupby("dataset") if (rows["original"] == rows["other_masks"]).all()}
    datasets, variants = (list(dict.fromkeys(frame[column])) for column in ("dataset", "variant"))
    by_choice = {choice: Scores(frame.assign(dsc=frame[choice]), variants, datasets) for choice in CHOICES}
    original = by_choice["original"]
    changes = {name: frame.assign(dsc=frame[name] - frame["original"]).dropna(subset="dsc") for name in TEST_TIME}
    changed = {name: Scores(rows, variants, datasets) for name, rows in changes.items() if len(rows)}
    counts = frame.groupby(["dataset", "variant"])[["cases", "cases_with_target"]].first()
    records, printed = [], []
    for dataset in original.columns:
        for variant in variants:
            row = {choice: by_choice[choice].of(variant, dataset) for choice in CHOICES}
            cell = {choice: by_choice[choice].cell(variant, dataset) for choice in CHOICES}
            if row["original"] is None:
                continue
            of_variant = counts.xs(variant, level="variant")
            cases, targets = of_variant.sum() if dataset == AVERAGE else of_variant.loc[dataset]
            if targets == cases:
                cell["with_target"] = Cell()
            with_target = row["with_target"] if targets < cases else None
            if dataset in same or (dataset == AVERAGE and len(same) == len(datasets)):
                row["other_masks"], cell["other_masks"] = None, Cell()
            cells = [
                *(Cell(label(labels, dataset)), Cell(str(cases)), cell["original"]),
                *(cell["input_size"], _difference(row["input_size"], row["original"])),
                *(Cell(str(targets)), cell["with_target"], _difference(with_target, row["original"])),
                *(Cell(str(cases - targets)), cell["without_target"]),
                *(cell["other_masks"], _difference(row["other_masks"], row["original"])),
                *(_signed(scores.of(variant, dataset)) for scores in changed.values()),
            ]
            printed.append((label(labels, variant), cells))
            record = {"dataset": dataset, "variant": variant, "label": label(labels, variant)}
            record |= {"seeds": row["original"].seeds, "cases": cases, "cases_with_target": targets}
            record["input_side"] = side
            for choice, score in row.items():
                record |= score_record(f"{other}_masks" if choice == "other_masks" else choice, score)
            for name, scores in changed.items():
                record |= score_record(f"{name}_difference", scores.of(variant, dataset))
            records.append(record)
    table = Table(
        title="DSC (%) by the size it is computed at, the cases that count, how masks are read, and what is averaged",
        header=[
            *("Variant", "Dataset", "Cases", "Original size", f"Input size ({side} x {side})", "Δ"),
            *("Cases with target", "With target", "Δ", "Cases without target", "Without target"),
            *(f"{other.capitalize()} masks", "Δ"),
            *(f"{TEST_TIME[name]}, Δ" for name in changed),
        ],
        rows=printed,
        footnotes=[NOTE.format(side=side, own=READ[masks], other=other, read=READ[other]), TEST_TIME_NOTE],
        rules=rules_between(record["dataset"] for record in records),
    )
    return pd.DataFrame(records), table


def main() -> None:
    options = parse_options(__doc__, "results", "runs", "side", "masks", "mirrored")
    runs = listed_runs(options.results, options.runs)

    def scores(run: Run) -> list[Path]:
        folders = [run.folder, _mirror(run, options.mirrored)]
        return [folder / "per_case.csv" for folder in folders if folder]

    table = build(runs, options.side, options.masks, options.labels, options.mirrored)
    write(*table, options, describe_runs(runs, scores))


if __name__ == "__main__":
    run_command(main)
