"""Table ``prompt_outcomes``: are models that were trained with one prompt type better than one trained with all?"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from pipeline.evaluation.methods import compare_methods
from pipeline.evaluation.per_case import EMPTY, read_per_prompt
from pipeline.evaluation.provenance import describe_runs
from pipeline.evaluation.runs import Run, listed_runs
from pipeline.reporting.formats import number
from pipeline.reporting.markup import Cell, Table, rules_between, write
from pipeline.reporting.options import label, parse_options
from pipeline.reporting.outcomes import LISTED, difference
from pipeline.runtime.errors import run_command

OWN, OTHER, NONE = "its own type", "other types", "the empty prompt"
COLUMNS = ["evaluated", "dataset", "seeds", "difference", "low", "high", "p_holm", "outcome"]
_SPECIALISTS = "specialists"


def scored_under_all(run: Run, scores: Path, own: Mapping[str, str]) -> Path:
    """The folder with the scores of ``run`` under all prompt types: below ``scores`` if it has a type of its own."""
    return run.within(scores) if run.variant in own else run.folder


def collect(runs: Sequence[Run], scores: Path, reference: str, own: Mapping[str, str]) -> pd.DataFrame:
    """The scores of all models with a type of their own, as one method, and of the reference under the same prompts.

    Args:
        scores: folder with DATASET/VARIANT/seedN/per_prompt.csv of each run that has a prompt type of its own.
        reference: the variant that was trained with prompts of all types.
        own: by variant its prompt type.

    Returns:
        Columns evaluated, dataset, variant, seed, case (one for each training type, test type and image), dsc.
    """
    by_run = {run[:3]: read_per_prompt(scored_under_all(run, scores, own)) for run in runs}
    tables = []
    for (dataset, variant, seed), table in by_run.items():
        if variant not in own or (dataset, reference, seed) not in by_run:
            continue
        for method, scored in ((_SPECIALISTS, table), (reference, by_run[dataset, reference, seed])):
            kinds = scored["prompt_type"].map(lambda name, own=own[variant]: {own: OWN, EMPTY: NONE}.get(name, OTHER))
            cases = variant + "/" + scored["prompt_type"] + "/" + scored["case"]
            identity = {"dataset": dataset, "variant": method, "seed": seed}
            tables.append(pd.DataFrame({"evaluated": kinds, "case": cases, "dsc": scored["dsc"]}).assign(**identity))
    return pd.concat(tables, ignore_index=True)


def build(
    runs: Sequence[Run], scores: Path, reference: str, own: Mapping[str, str], margin: float, labels: Mapping[str, str]
) -> tuple[pd.DataFrame, Table]:
    """The table of ``runs``, machine-readable (DSC points) and for print; arguments as :func:`collect` takes them."""
    cases, found = collect(runs, scores, reference, own), []
    for kind in (OWN, OTHER, NONE):
        part = cases[cases["evaluated"] == kind]
        if len(part):
            found.append(compare_methods(part, reference, margin).assign(evaluated=kind))
    frame = pd.concat(found, ignore_index=True)[COLUMNS]
    printed = []
    for row in frame.itertuples():
        cells = [label(labels, row.dataset), difference(row), number(row.p_holm, ".3f"), row.outcome]
        printed.append((f"Under {row.evaluated}", [Cell(cell) for cell in cells]))
    footnote = (
        f"Difference: the mean of {len(own)} models that were each trained with one prompt type "
        f"({', '.join(own.values())}) minus {label(labels, reference)}, trained with prompts of all types, under the "
        "same prompts; DSC points. The unit is the training, paired by seed. Outcome after Holm's correction over "
        f"datasets: {LISTED.format(margin=margin)}."
    )
    header = ["Evaluated", "Dataset", "Difference [95% CI]", "p (Holm)", "Outcome"]
    title = "Training with one prompt type against training with all"
    return frame.round(6), Table(title, header, printed, [footnote], rules_between(frame["evaluated"]))


def main() -> None:
    options = parse_options(__doc__, "results", "runs", "scores", "reference", "own", "margin")
    runs = listed_runs(options.results, options.runs)
    frame, table = build(runs, options.scores, options.reference, options.own, options.margin, options.labels)
    made_from = describe_runs(runs, lambda run: [scored_under_all(run, options.scores, options.own) / "per_prompt.csv"])
    write(frame, table, options, made_from, missing="")


if __name__ == "__main__":
    run_command(main)
