"""Table ``prompt_sensitivity``: DSC of trained runs by the type of the prompt they are evaluated with."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from pipeline.evaluation.per_case import EMPTY, read_per_prompt
from pipeline.evaluation.provenance import describe_runs
from pipeline.evaluation.runs import Run, listed_runs
from pipeline.reporting.formats import NOT_AVAILABLE, number
from pipeline.reporting.markup import Cell, Table, ranks, rules_between, write
from pipeline.reporting.options import label, parse_options
from pipeline.reporting.tables.scores import DECIMALS
from pipeline.runtime.errors import run_command

MEAN = "mean"
NOTE = (
    "Mean over seeds of the test set's mean DSC, in percent, of runs evaluated with one prompt type for all cases; "
    "their standard deviations over seeds are in the CSV. p0: the empty prompt. Mean: over p1 and up, the score of a "
    "run everywhere else. Where a type has several wordings, one is drawn for each case, the same for all runs. Range: "
    "largest minus smallest over p1 and up, points. SD: standard deviation over the same types of the test set's mean "
    "DSC, averaged over seeds, points. SD by case: of each case's DSC, averaged over cases, then seeds, points. Best "
    f"of p1 and up bold, second best underlined. {NOT_AVAILABLE}: the dataset has no such type, or the variant is "
    "evaluated under its own type alone."
)


def type_order(types: Iterable[str]) -> list[str]:
    """``types`` once each: the empty prompt, p1 and up, their mean."""
    return sorted(set(types), key=lambda name: (name == MEAN, name))


def worded(types: Iterable[str]) -> list[str]:
    """Those of ``types`` over which dependence is measured: p1 and up."""
    return [name for name in types if name not in (EMPTY, MEAN)]


def _by_case(run: Run) -> tuple[pd.DataFrame, str, dict[str, str]]:
    """DSC by case and prompt type, 0..1; the first case with a target, if there is one, and its prompt of each type."""
    table = read_per_prompt(run.folder)
    wide = table.pivot_table(index="case", columns="prompt_type", values="dsc", aggfunc="mean", sort=False)
    case = table.sort_values("target_pixels", key=lambda pixels: pixels == 0, kind="stable")["case"].iloc[0]
    shown = table[table["case"] == case].drop_duplicates("prompt_type")
    return wide, case, dict(zip(shown["prompt_type"], shown["prompt"], strict=True))


def _record(tables: Sequence[pd.DataFrame], types: Sequence[str]) -> dict[str, Any]:
    """Figures of one variant on one dataset from a table of cases and types for each seed; points."""
    seeds = 100 * pd.DataFrame([table.mean() for table in tables])
    chosen = worded(seeds.columns)
    spreads = {"range": None, "prompt_sd": None, "sd_by_case": None}
    if len(chosen) > 1:
        seeds[MEAN] = seeds[chosen].mean(axis=1)
        spreads["range"] = seeds[chosen].mean().max() - seeds[chosen].mean().min()
        spreads["prompt_sd"] = seeds[chosen].std(axis=1, ddof=1).mean()
        spreads["sd_by_case"] = 100 * sum(table[chosen].std(axis=1, ddof=1).mean() for table in tables) / len(tables)
    means, spread = (values.reindex(types) for values in (seeds.mean(), seeds.std(ddof=1)))
    figures = {key: value for name in types for key, value in ((name, means[name]), (f"{name}_sd", spread[name]))}
    rounded = {name: None if pd.isna(value) else round(float(value), 6) for name, value in (figures | spreads).items()}
    return {"seeds": len(tables), "cases": len(tables[0]), **rounded}


def _example(dataset: str, case: str, prompts: Mapping[str, str]) -> str:
    wordings = "; ".join(f'{name} "{prompts[name]}"' for name in worded(type_order(prompts)))
    return f"Prompts of {dataset}, case {case}: {wordings}."


def build(
    runs: Sequence[Run], labels: Mapping[str, str], title: str = "DSC (%) by prompt type", note: str = NOTE
) -> tuple[pd.DataFrame, Table]:
    """The table of ``runs``, machine-readable and for print; datasets and variants keep the order of the runs.

    Args:
        labels: display names of variants and datasets.
        title, note: of the table for print.

    Returns:
        One row per dataset and variant, points: a column and its standard deviation (``_sd``) for each prompt type,
        ``range``, ``prompt_sd`` and ``sd_by_case``; and the same for print, with one case's prompts for each set of
        types.

    Raises:
        PipelineError: the scores of a run are missing or damaged.
    """
    tables: dict[tuple[str, str], list[pd.DataFrame]] = {}
    examples: dict[tuple[str, ...], str] = {}
    for run in runs:
        table, case, prompts = _by_case(run)
        tables.setdefault((run.dataset, run.variant), []).append(table)
        examples.setdefault(tuple(type_order(prompts)), _example(label(labels, run.dataset), case, prompts))
    types = type_order([MEAN, *(name for group in tables.values() for table in group for name in table.columns)])
    records, printed = [], []
    order = list(dict.fromkeys(dataset for dataset, _ in tables))
    for dataset, variant in sorted(tables, key=lambda key: order.index(key[0])):
        record = _record(tables[dataset, variant], types)
        chosen = worded(types)
        marks = dict(zip(chosen, ranks([record[name] for name in chosen], DECIMALS), strict=True))
        cells = [
            Cell(number(record[name], f".{DECIMALS}f"), rank=marks.get(name))
            for name in (*types, "range", "prompt_sd", "sd_by_case")
        ]
        printed.append((label(labels, variant), [Cell(label(labels, dataset)), *cells]))
        records.append({"dataset": dataset, "variant": variant, "label": label(labels, variant), **record})
    table = Table(
        title=title,
        header=["Variant", "Dataset", *types, "Range", "SD", "SD by case"],
        rows=printed,
        footnotes=[note, *examples.values()],
        rules=rules_between(record["dataset"] for record in records),
    )
    return pd.DataFrame(records), table


def main() -> None:
    options = parse_options(__doc__, "results", "runs")
    runs = listed_runs(options.results, options.runs)
    made_from = describe_runs(runs, lambda run: [run.folder / "per_prompt.csv"])
    write(*build(runs, options.labels), options, made_from)


if __name__ == "__main__":
    run_command(main)
