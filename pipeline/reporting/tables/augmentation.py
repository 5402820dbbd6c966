"""Table ``augmentation``: DSC of each method trained without and with augmentation, and how the two differ."""

import math
from collections.abc import Mapping, Sequence

import pandas as pd

from pipeline.evaluation.aggregate import measured
from pipeline.evaluation.methods import compare_pairs
from pipeline.evaluation.provenance import describe_runs
from pipeline.evaluation.readers import read_cases, read_dsc
from pipeline.evaluation.runs import listed_runs
from pipeline.reporting.markup import Table, write
from pipeline.reporting.options import parse_options
from pipeline.reporting.outcomes import LISTED
from pipeline.reporting.tables.changes import change_table
from pipeline.runtime.errors import run_command

SETTINGS = ("before", "after")
COLUMNS = ["dataset", "variant", "before", "before_sd", "after", "after_sd", "seeds"]
COLUMNS += ["difference", "low", "high", "p_holm", "outcome"]


def build(
    dsc: pd.DataFrame,
    cases: pd.DataFrame,
    methods: Mapping[str, str],
    datasets: Sequence[str],
    margin: float,
    labels: Mapping[str, str],
) -> tuple[pd.DataFrame, Table]:
    """The table, machine-readable (:data:`COLUMNS`, points) and for print.

    Args:
        dsc, cases: scores by run and by case of all methods and their augmented variants.
        methods: by method its augmented variant.
        margin: of equivalence, DSC points.
        labels: display names of methods and datasets.
    """
    frame = compare_pairs(cases, methods, margin)
    frame["variant"] = frame["variant"].map({variant: method for method, variant in methods.items()})
    seeds = dsc.groupby("variant")["seed"].agg(set)
    for setting in SETTINGS:
        scores = {}
        for method, variant in methods.items():
            shared = dsc[dsc["seed"].isin(seeds[method] & seeds[variant])]
            scores[method] = measured(shared, method if setting == SETTINGS[0] else variant, datasets)
        found = [scores[row.variant][row.dataset] for row in frame.itertuples()]
        frame[setting] = [score.mean if score else math.nan for score in found]
        frame[f"{setting}_sd"] = [score.sd if score and score.sd is not None else math.nan for score in found]
    order = list(dict.fromkeys(frame["dataset"]))
    frame = frame.sort_values("dataset", key=lambda column: column.map(order.index), kind="stable", ignore_index=True)
    footnote = (
        "Mean ± standard deviation over seeds of the test set's mean DSC, in percent. Light: flips, rotation up to 15 "
        "degrees, scale 0.9 to 1.1, brightness, contrast and saturation 0.8 to 1.2, of training images alone. "
        "Over the seeds that both have. Difference: light minus none, DSC points; its unit is the training, paired by "
        f"seed. Outcome, after Holm's correction over the methods and datasets: {LISTED.format(margin=margin)}."
    )
    title = "DSC (%) of training without and with augmentation"
    return frame[COLUMNS].round(6), change_table(frame, title, ("None", "Light"), footnote, labels)


def main() -> None:
    options = parse_options(__doc__, "results", "runs", "dsc", "datasets", "methods", "margin")
    runs = listed_runs(options.results, options.runs)
    settings = options.methods, options.datasets, options.margin, options.labels
    frame, table = build(read_dsc(options.dsc), read_cases(runs), *settings)
    write(frame, table, options, describe_runs(runs), missing="")


if __name__ == "__main__":
    run_command(main)
