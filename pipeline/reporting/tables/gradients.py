"""Table ``gradients``: norms before clipping and skipped steps by base dimension, from history.csv."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from pipeline.evaluation.methods import AVERAGE, BETTER, WORSE, compare_methods
from pipeline.evaluation.provenance import describe_runs
from pipeline.evaluation.readers import read_table
from pipeline.evaluation.runs import Run, listed_runs
from pipeline.reporting.formats import NOT_AVAILABLE, number
from pipeline.reporting.markup import Cell, Table, write
from pipeline.reporting.options import label, parse_options
from pipeline.runtime.errors import PipelineError, run_command

COLUMNS = ["epoch", "steps", "gradient_norm_mean", "gradient_norm_max", "skipped_steps", "loss_scale"]
FACTOR = 2.0
"""Norms within this factor of each other are of no consequence: clipping makes them equal."""
WORDS = {BETTER: "larger", WORSE: "smaller"}
NOTE = (
    "L2 norm of the whole gradient before clipping: its mean over steps and the largest of a training, both averaged "
    "over trainings (the largest geometrically). Ratio: of the largest norm to the reference's, paired by dataset and "
    "seed, with its 95% interval over trainings; outcome after Holm's correction; equivalent: surely within a factor "
    f"of {FACTOR:g}. Skipped: share of steps whose loss or gradients were not finite. Scale: smallest loss scale of "
    "fp16 at the end of an epoch; 1 where losses are not scaled."
)


def of_run(run: Run) -> dict[str, Any]:
    """What history.csv of ``run`` tells of its gradients.

    Raises:
        PipelineError: it is missing, or there is no step whose gradient is finite.
    """
    path = run.folder / "history.csv"
    history = read_table(path, COLUMNS)
    largest = history["gradient_norm_max"].max()
    if not largest > 0:
        raise PipelineError(f"{path}: no epoch has a finite gradient; train the run again")
    return {
        "dataset": run.dataset,
        "variant": run.variant,
        "seed": run.seed,
        "mean": history["gradient_norm_mean"].mean(),
        "largest": math.log(largest),
        "steps": history["steps"].iloc[-1],
        "skipped": history["skipped_steps"].sum(),
        "scale": history["loss_scale"].min(),
    }


def build(
    runs: Sequence[Run], reference: str, dimensions: Mapping[str, int], labels: Mapping[str, str]
) -> tuple[pd.DataFrame, Table]:
    """The table of the runs of the variants in ``dimensions``, machine-readable and for print.

    Args:
        reference: the variant that the others are compared with.
        dimensions: base dimension by variant.
    """
    facts = pd.DataFrame([of_run(run) for run in runs if run.variant in dimensions])
    # Differences of logarithms are compared as those of DSC are, which come in hundredths.
    scores = facts.assign(dsc=facts["largest"] / 100, case="largest norm")
    compared = compare_methods(scores, reference, math.log(FACTOR))
    last = AVERAGE if AVERAGE in set(compared["dataset"]) else facts["dataset"].iloc[0]
    compared = compared[compared["dataset"] == last].set_index("variant")
    records, printed = [], []
    for variant, dimension in sorted(dimensions.items(), key=lambda item: item[1]):
        own = facts[facts["variant"] == variant]
        record = {"variant": variant, "base_dimension": dimension, "runs": len(own), "norm_mean": own["mean"].mean()}
        record |= {"norm_max": math.exp(own["largest"].mean()), "ratio": None, "low": None, "high": None, "outcome": ""}
        if variant in compared.index:
            row = compared.loc[variant]
            record |= {
                name: math.exp(row[key]) for name, key in (("ratio", "difference"), ("low", "low"), ("high", "high"))
            }
            record["outcome"] = WORDS.get(row["outcome"], row["outcome"])
        record |= {"skipped_percent": 100 * own["skipped"].sum() / own["steps"].sum(), "loss_scale": own["scale"].min()}
        records.append(record)
        ratio = "reference" if variant == reference else NOT_AVAILABLE
        if record["ratio"] is not None:
            ends = "" if math.isnan(record["low"]) else f" [{record['low']:.2f}, {record['high']:.2f}]"
            ratio = f"{record['ratio']:.2f}{ends}"
        shown = [number(record[name], ".3g") for name in ("norm_mean", "norm_max")]
        shown += [
            ratio,
            record["outcome"],
            number(record["skipped_percent"], ".2f"),
            number(record["loss_scale"], ".4g"),
        ]
        printed.append((label(labels, variant), [Cell(str(dimension)), Cell(str(len(own))), *map(Cell, shown)]))
    header = ["Variant", "D", "Runs", "Norm, mean", "Norm, largest", "Ratio [95% CI]", "Outcome", "Skipped, %", "Scale"]
    return pd.DataFrame(records), Table("Gradients before clipping by base dimension", header, printed, [NOTE])


def main() -> None:
    options = parse_options(__doc__, "results", "runs", "reference", "dimensions")
    runs = [run for run in listed_runs(options.results, options.runs) if run.variant in options.dimensions]
    frame, table = build(runs, options.reference, options.dimensions, options.labels)
    made_from = describe_runs(runs, lambda run: [run.folder / "history.csv"], "histories")
    write(frame.round(6), table, options, made_from, missing="")


if __name__ == "__main__":
    run_command(main)
