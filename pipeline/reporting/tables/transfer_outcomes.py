"""Table ``transfer_outcomes``: is a method better than another on datasets that it was not trained on?"""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import pandas as pd

from pipeline.evaluation.methods import AVERAGE, compare_methods
from pipeline.evaluation.per_case import read_per_case
from pipeline.evaluation.provenance import describe_runs
from pipeline.evaluation.runs import Run, listed_runs
from pipeline.reporting.formats import number
from pipeline.reporting.markup import Cell, Table, rules_between, write
from pipeline.reporting.options import label, parse_options
from pipeline.reporting.outcomes import LISTED, difference
from pipeline.runtime.errors import run_command

HEADER = ["Variant", "Transfer", "Pairs", "Difference [95% CI]", "p (Holm)", "Outcome"]
COLUMNS = ["transfer", "variant", "pairs", "difference", "low", "high", "p_holm", "outcome"]


def directions(trained: str, tested: str, beside: Collection[str]) -> str:
    """Which kind of transfer it is to train on one dataset and test on another."""
    if trained in beside:
        return "from the others" if tested not in beside else "among the others"
    return "to the others" if tested in beside else "within the study"


def collect(runs: Sequence[Run], scores: Path, beside: Collection[str]) -> pd.DataFrame:
    """Mean DSC (0..1) of each run on each other dataset, which counts as a case of the dataset that it was trained on.

    What one training gives on several test sets is not independent.

    Returns:
        Columns transfer, dataset (trained on), variant, seed, case (tested on), dsc.
    """
    tables = []
    for run in runs:
        means = read_per_case(run.within(scores), ["test_dataset"]).groupby("test_dataset", sort=False)["dsc"].mean()
        means = means.drop(run.dataset, errors="ignore")
        kinds = [directions(run.dataset, tested, beside) for tested in means.index]
        identity = {"dataset": run.dataset, "variant": run.variant, "seed": run.seed}
        tables.append(means.rename_axis("case").reset_index().assign(transfer=kinds, **identity))
    return pd.concat(tables, ignore_index=True)


def build(
    runs: Sequence[Run], scores: Path, reference: str, margin: float, beside: Sequence[str], labels: Mapping[str, str]
) -> tuple[pd.DataFrame, Table]:
    """The table of ``runs``, machine-readable (DSC points) and for print.

    Args:
        scores: folder with DATASET/VARIANT/seedN/per_case.csv of each run.
        reference: the variant that the others are compared with.
        margin: of equivalence, DSC points.
        beside: the datasets that are not the study's.
        labels: display names of variants and datasets.
    """
    cases = collect(runs, scores, beside)
    tables = []
    for transfer, part in cases.groupby("transfer", sort=False):
        compared = compare_methods(part, reference, margin)
        pairs = len(part[["dataset", "case"]].drop_duplicates())
        compared = compared[compared["dataset"] == AVERAGE] if part["dataset"].nunique() > 1 else compared
        tables.append(compared.assign(transfer=transfer, pairs=pairs))
    order = ["within the study", "to the others", "from the others", "among the others"]
    frame = pd.concat(tables, ignore_index=True)[COLUMNS]
    frame = frame.sort_values("transfer", key=lambda column: column.map(order.index), kind="stable")
    printed = []
    for row in frame.itertuples():
        cells = [row.transfer, str(row.pairs), difference(row), number(row.p_holm, ".3f"), row.outcome]
        printed.append((label(labels, row.variant), [Cell(cell) for cell in cells]))
    others = f" The others: {', '.join(label(labels, name) for name in beside)}." if beside else ""
    footnote = (
        f"Difference: from {label(labels, reference)}, DSC points, averaged over a training's other test "
        "datasets, then over training datasets; its unit is the training, paired by seed. Outcome after Holm's "
        f"correction over the methods of a kind of transfer: {LISTED.format(margin=margin)}.{others}"
    )
    title = f"Transfer to another dataset: methods against {label(labels, reference)}"
    return frame.round(6), Table(title, HEADER, printed, [footnote], rules_between(frame["transfer"]))


def main() -> None:
    options = parse_options(__doc__, "results", "runs", "scores", "reference", "margin", "beside")
    runs = listed_runs(options.results, options.runs)
    frame, table = build(
        runs, options.scores, options.reference, options.margin, options.beside, options.labels
    )  # fmt: skip
    write(
        frame,
        table,
        options,
        describe_runs(runs, lambda run: [run.within(options.scores) / "per_case.csv"]),
        missing="",
    )


if __name__ == "__main__":
    run_command(main)
