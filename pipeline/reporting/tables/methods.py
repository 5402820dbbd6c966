"""Table ``methods``: every method with its size, DSC, rank over trainings, and what its training took."""

import math
from collections.abc import Mapping

import pandas as pd

from pipeline.evaluation.aggregate import front
from pipeline.evaluation.demands import read_manifests, time_unit
from pipeline.evaluation.provenance import describe_runs
from pipeline.evaluation.ranks import Ranks, mean_ranks
from pipeline.evaluation.readers import read_cost, read_dsc
from pipeline.evaluation.runs import listed_runs
from pipeline.reporting.formats import NOT_AVAILABLE, number
from pipeline.reporting.markup import Cell, Table, write
from pipeline.reporting.options import label, parse_options
from pipeline.reporting.tables.scores import DSC_OPTIONS, MEASURED_NOTE, Scores
from pipeline.runtime.errors import run_command

MATCHED, NATURAL = "matched", "natural"
TOLERANCE = 0.05
"""Sizes within this share of the reference's are matched."""
COSTS = ("trainable_parameters", "seconds", "memory_gib")
"""Columns of what a method costs; ``front_{column}`` says whether it is on the front of DSC against that cost."""
FRONTS = ("parameters", "time", "memory")
"""What the fronts are called, in the order of :data:`COSTS`."""


def _rank_notes(ranks: Ranks) -> list[str]:
    blocks = f"{ranks.blocks} {'block' if ranks.blocks == 1 else 'blocks'} (dataset and seed)"
    if pd.isna(ranks.critical):
        return [f"Rank: mean over {blocks}; too few for a test."]
    return [
        f"Rank: mean over {blocks}. Friedman's test that all methods are alike: p = {ranks.p:.2g}. Two methods differ "
        f"at 5% if their mean ranks are {ranks.critical:.2f} or more apart (Nemenyi); n: nearer to the best. "
        "Blocks of a dataset share its test cases: ranks say what further trainings on these datasets would show."
    ]


def build(
    scores: Scores,
    cost: pd.DataFrame,
    taken: pd.DataFrame,
    ranks: Ranks,
    reference: str,
    title: str,
    labels: Mapping[str, str],
) -> tuple[pd.DataFrame, Table]:
    """DSC beside size, rank, time and memory, in the order of the variants.

    Args:
        scores: measured, of the family's runs.
        cost: as cost.csv, by variant: the trained parameters.
        taken: as :func:`pipeline.evaluation.demands.read_manifests` gives it.
        reference: the variant whose size others may match.
        labels: display names of variants and datasets.

    Returns:
        The machine-readable table (points, seconds, GiB; fronts of the last column's DSC) and the table for print.
    """
    rows, last = scores.rows, scores.columns[-1]
    frame = pd.DataFrame([{"label": label(labels, row)} for row in rows], index=pd.Index(rows, name="variant"))
    frame["trainable_parameters"] = cost["trainable_parameters"].reindex(rows).astype("Int64")
    target = cost["trainable_parameters"].get(reference, math.nan)
    matched = ((frame["trainable_parameters"] - target).abs() <= TOLERANCE * target).fillna(False)
    frame["size"] = matched.map({True: MATCHED, False: NATURAL})
    for column in scores.columns:
        frame = frame.join(pd.DataFrame([scores.record(row, column) for row in rows], index=frame.index))
    found = [scores.of(row, last) for row in rows]
    frame["dsc"] = [math.nan if score is None else score.mean for score in found]
    frame["dsc_sd"] = [math.nan if score is None or score.sd is None else score.sd for score in found]
    frame["rank"], frame["rank_critical"], frame["rank_p"] = ranks.mean.reindex(rows), ranks.critical, ranks.p
    frame = frame.join(taken.groupby("variant")[["seconds", "memory_gib"]].mean()).round(6)
    for column in COSTS:
        points = frame[[column, "dsc"]].astype(float)
        ends = front(list(points.dropna().itertuples(index=False, name=None)))
        frame[f"front_{column}"] = [point in ends for point in points.itertuples(index=False, name=None)]
    return frame.reset_index(), _printed(scores, frame, ranks, reference, title, bool(taken["on_gpu"].any()), labels)


def _printed(
    scores: Scores,
    frame: pd.DataFrame,
    ranks: Ranks,
    reference: str,
    title: str,
    on_gpu: bool,
    labels: Mapping[str, str],
) -> Table:
    unit, length = time_unit(frame["seconds"].max()) if frame["seconds"].notna().any() else ("seconds", 1.0)
    best, printed = frame["rank"].min(), []
    for row in frame.itertuples():
        near = row.rank - best < ranks.critical
        fronts = [name for name, column in zip(FRONTS, COSTS, strict=True) if getattr(row, f"front_{column}")]
        cells = [
            Cell(number(row.trainable_parameters, ",d")),
            Cell(row.size),
            *(scores.cell(row.Index, column) for column in scores.columns),
            Cell(number(row.rank, ".1f"), mark="n" if near else ""),
            Cell(number(row.seconds / length, ".3g")),
            Cell(number(row.memory_gib, ".2f")),
            Cell(", ".join(fronts)),
        ]
        printed.append((row.label, cells))
    footnotes = [
        MEASURED_NOTE,
        f"Size: matched where the trained parameters are within {100 * TOLERANCE:g}% of those of "
        f"{label(labels, reference)}, else the method's natural one.",
        *_rank_notes(ranks),
        f"Time and peak {'GPU' if on_gpu else 'host'} memory: of a training on this machine, in the mean over runs; "
        f"{NOT_AVAILABLE}: not trained. Front: no other method has at least this DSC for less.",
    ]
    columns = (label(labels, column) for column in scores.columns)
    header = ["Method", "Trained parameters", "Size", *columns, "Rank", f"Training, {unit}", "Memory, GiB", "Front"]
    return Table(f"{title}: DSC (%)", header, printed, footnotes)


def main() -> None:
    options = parse_options(__doc__, *DSC_OPTIONS, "cost", "reference", "title")
    runs, dsc = listed_runs(options.results, options.runs), read_dsc(options.dsc)
    frame, table = build(
        Scores(dsc, options.variants, options.datasets),
        read_cost(options.cost),
        read_manifests(runs),
        mean_ranks(dsc, options.variants),
        options.reference,
        options.title,
        options.labels,
    )
    write(frame, table, options, describe_runs(runs))


if __name__ == "__main__":
    run_command(main)
