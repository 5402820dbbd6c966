"""Table ``leaks``: DSC on the study's split and on the leak-free one, and how the two differ."""

from collections.abc import Mapping, Sequence

import pandas as pd

from pipeline.data.sources import LEAK_FREE, origin
from pipeline.evaluation.provenance import describe_runs
from pipeline.evaluation.readers import read_dsc
from pipeline.evaluation.runs import listed_runs
from pipeline.evaluation.unpaired import compare_datasets
from pipeline.reporting.markup import Table, write
from pipeline.reporting.options import parse_options
from pipeline.reporting.outcomes import LISTED
from pipeline.reporting.tables.changes import change_table
from pipeline.runtime.errors import run_command


def note(margin: float) -> str:
    """What the columns are."""
    return (
        "Mean ± standard deviation over seeds of the test set's mean DSC, in percent; each split has its own models. "
        "Difference: leak-free minus the other, DSC points; its unit is the training (Welch's t), and the two test "
        "sets are not the same cases: what a method that is not trained loses is due to them. Outcome, after Holm's "
        f"correction over the rows: {LISTED.format(margin=margin)}."
    )


def build(
    dsc: pd.DataFrame, datasets: Sequence[str], names: Sequence[str], margin: float, labels: Mapping[str, str]
) -> tuple[pd.DataFrame, Table]:
    """The table of the runs in ``dsc``, machine-readable and for print.

    Args:
        dsc: as dsc.csv.
        datasets: those on the study's split, and with the ending ``_leak_free`` on the other.
        names: what the study's split is called, and the other.
        margin: of equivalence, DSC points.
        labels: display names of variants and datasets.
    """
    pairs = {name: f"{name}{LEAK_FREE}" for name in dict.fromkeys(map(origin, datasets))}
    frame = compare_datasets(dsc, pairs, margin)
    title = f"DSC (%) on the {names[0]} and on the {names[1]}"
    headings = [name.capitalize() for name in names]
    return frame.round(6), change_table(frame, title, headings, note(margin), labels)


def main() -> None:
    options = parse_options(__doc__, "results", "runs", "dsc", "datasets", "names", "margin")
    dsc = read_dsc(options.dsc)
    frame, table = build(dsc, options.datasets, options.names, options.margin, options.labels)
    write(frame, table, options, describe_runs(listed_runs(options.results, options.runs)), missing="")


if __name__ == "__main__":
    run_command(main)
