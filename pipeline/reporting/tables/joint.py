"""Table ``joint``: one training on all datasets against one training on each."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.data.sources import JOINT
from pipeline.evaluation.methods import compare_methods, seed_means
from pipeline.evaluation.per_case import read_per_case
from pipeline.evaluation.provenance import describe_runs
from pipeline.evaluation.readers import AVERAGE
from pipeline.evaluation.runs import Run, listed_runs, run_of
from pipeline.reporting.markup import Table, write
from pipeline.reporting.options import parse_options
from pipeline.reporting.outcomes import LISTED
from pipeline.reporting.tables.changes import change_table
from pipeline.runtime.errors import run_command

BEFORE, AFTER = "separate", "joint"
COLUMNS = ["dataset", "variant", "before", "before_sd", "after", "after_sd", "seeds"]
COLUMNS += ["difference", "low", "high", "p", "p_holm", "p_equivalence", "outcome"]


def collect(runs: Sequence[Run], results: Path, scores: Path) -> pd.DataFrame:
    """Scores by case of ``runs`` and of the joint runs of their variants and seeds on the same cases.

    Returns:
        Columns variant, setting (:data:`BEFORE`, :data:`AFTER`), dataset, seed, case, dsc (0..1).

    Raises:
        PipelineError: the scores of a run are missing or damaged.
    """
    joint = {}
    for variant, seed in dict.fromkeys((run.variant, run.seed) for run in runs):
        joint[variant, seed] = read_per_case(run_of(results, JOINT, variant, seed).within(scores), ["test_dataset"])
    tables = []
    for run in runs:
        together = joint[run.variant, run.seed]
        parts = {BEFORE: read_per_case(run.folder), AFTER: together[together["test_dataset"] == run.dataset]}
        for setting, part in parts.items():
            identity = {"variant": run.variant, "setting": setting, "dataset": run.dataset, "seed": run.seed}
            tables.append(part[["case", "dsc"]].assign(**identity))
    return pd.concat(tables, ignore_index=True)


def _averaged(seeds: Mapping[str, Mapping[str, Mapping[int, float]]], setting: str) -> dict[str, np.ndarray]:
    """Means by dataset, one a seed, and their average over the datasets for the seeds that all have."""
    means = {dataset: settings[setting] for dataset, settings in seeds.items()}
    shared = set.intersection(*(set(values) for values in means.values()))
    average = [np.mean([values[seed] for values in means.values()]) for seed in sorted(shared)]
    return {dataset: np.array(list(values.values())) for dataset, values in means.items()} | {
        AVERAGE: np.array(average)
    }


def compare(cases: pd.DataFrame, margin: float) -> pd.DataFrame:
    """:data:`COLUMNS` in DSC points, by dataset and averaged, method by method; ``difference`` is joint minus separate.

    Args:
        cases: as :func:`collect` gives them.
        margin: of equivalence, DSC points.
    """
    tables = []
    for variant, part in cases.groupby("variant", sort=False):
        part = part.drop(columns="variant").rename(columns={"setting": "variant"})
        # A joint model's errors on its datasets are not independent: its average is compared seed by seed.
        test_sets = part.groupby(["variant", "seed", "dataset"], as_index=False, sort=False)["dsc"].mean()
        average = compare_methods(test_sets.rename(columns={"dataset": "case"}).assign(dataset=AVERAGE), BEFORE, margin)
        compared, seeds = compare_methods(part, BEFORE, margin), seed_means(part)
        if AVERAGE in set(compared["dataset"]):
            compared = pd.concat([compared[compared["dataset"] != AVERAGE], average], ignore_index=True)
        compared = compared.drop(columns="variant")
        for name, setting in (("before", BEFORE), ("after", AFTER)):
            values = _averaged(seeds, setting)
            compared[name] = [values[dataset].mean() for dataset in compared["dataset"]]
            spread = {dataset: found.std(ddof=1) if len(found) > 1 else np.nan for dataset, found in values.items()}
            compared[f"{name}_sd"] = compared["dataset"].map(spread)
        tables.append(compared.assign(variant=variant))
    table = pd.concat(tables, ignore_index=True)[COLUMNS]
    order = list(dict.fromkeys(table["dataset"]))
    return table.sort_values("dataset", key=lambda column: column.map(order.index), kind="stable", ignore_index=True)


def build(
    runs: Sequence[Run], results: Path, scores: Path, margin: float, labels: Mapping[str, str]
) -> tuple[pd.DataFrame, Table]:
    """The table of ``runs``, each on one dataset, machine-readable and for print.

    Args:
        scores: folder with joint/VARIANT/seedN/per_case.csv, with a column test_dataset.
        margin: of equivalence, DSC points.
        labels: display names of variants and datasets.
    """
    frame = compare(collect(runs, results, scores), margin)
    footnote = (
        "Mean ± standard deviation over seeds of the test set's mean DSC, in percent. Joint: one model, trained on the "
        "training cases of all datasets and chosen by its mean DSC over all their validation cases, so that large "
        "datasets weigh more. Difference: joint minus separate, DSC points; its unit is the training, paired by seed; "
        "that of the average is each seed's mean over the datasets, as one joint model serves them all. "
        f"Outcome, after Holm's correction over a method's datasets: {LISTED.format(margin=margin)}."
    )
    title = "DSC (%) of one training on all datasets and of one on each"
    return frame.round(6), change_table(frame, title, ("Separate", "Joint"), footnote, labels)


def main() -> None:
    options = parse_options(__doc__, "results", "runs", "scores", "margin")
    runs = listed_runs(options.results, options.runs)
    frame, table = build(runs, options.results, options.scores, options.margin, options.labels)
    pairs = dict.fromkeys((run.variant, run.seed) for run in runs)
    joint = [run_of(options.results, JOINT, variant, seed) for variant, seed in pairs]

    def scored(run: Run) -> list[Path]:
        return [(run.within(options.scores) if run.dataset == JOINT else run.folder) / "per_case.csv"]

    made_from = describe_runs([*runs, *joint], scored)
    write(frame, table, options, made_from, missing="")


if __name__ == "__main__":
    run_command(main)
