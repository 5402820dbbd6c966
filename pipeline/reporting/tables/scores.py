"""Tables ``main``, ``efficiency`` and of an ablation: CSV, Markdown and LaTeX, measured beside reported.

python -m pipeline.reporting.tables.scores main --dsc results/dsc.csv --reported reported.csv
    --variants '["zero_shot", "telescopic"]' --datasets '["kvasir_seg", "busi"]' --output results/tables/main
"""

import argparse
import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.evaluation.aggregate import SOURCES, Reported, Score, measured, reported, reported_parameters
from pipeline.evaluation.pairing import pair_cases
from pipeline.evaluation.provenance import describe_runs
from pipeline.evaluation.readers import (
    AVERAGE,
    REPORTED_ONLY,
    TABLE_SUFFIXES,
    add_labels,
    add_output,
    add_variants,
    dataset_label,
    json_value,
    read_cost,
    read_dsc,
    read_reported,
    read_table,
    variant_label,
)
from pipeline.evaluation.runs import Run, add_run_options, chosen_runs
from pipeline.reporting.markup import NOT_AVAILABLE, Cell, Rank, Table, latex, markdown, number, ranks
from pipeline.runtime.atomic import write_csv, write_text
from pipeline.runtime.errors import PipelineError, run_command

DECIMALS = 2
SOURCE_LETTERS = {"paper": "a", "vlsm-adapter": "b", "medvlsm": "c"}
SOURCE_NAMES = {
    "paper": "the Telescopic Adapters paper (arXiv 2512.13855)",
    "vlsm-adapter": "the VLSM-Adapter paper",
    "medvlsm": "the MedVLSM repository's results",
}
MEASURED_NOTE = (
    "Measured: mean ± standard deviation over seeds of the test set's mean DSC, in percent; no ± where there is one "
    f"seed; {NOT_AVAILABLE}: not run. Average: over the datasets within each seed, then over seeds. "
    "Best measured value bold, second underlined; values equal as shown share the mark."
)
DECODER_NOTE = (
    "The reported end-to-end numbers come, as far as their public code shows, from training CLIPSeg's decoder alone: "
    "compare them with the measured decoder-only row."
)
STAR_LEVELS = ((0.001, "***"), (0.01, "**"), (0.05, "*"))


def stars(p: float | None) -> str:
    """``*``, ``**`` or ``***`` for p below 0.05, 0.01 or 0.001; nothing otherwise or where there was no test."""
    if p is None or pd.isna(p):
        return ""
    return next((mark for level, mark in STAR_LEVELS if p < level), "")


def _star_note(reference: str) -> str:
    return (
        f"*, **, ***: differs from {reference} with p < 0.05, 0.01, 0.001 "
        "(Wilcoxon signed-rank, paired by case, for the average by dataset; Holm's correction over the family of "
        "comparisons)."
    )


def _source_note(cells: Sequence[Reported | None]) -> str | None:
    used = [source for source in SOURCES if any(cell is not None and cell.source == source for cell in cells)]
    if not used:
        return None
    return (
        "In brackets: reported by " + ", ".join(f"({SOURCE_LETTERS[name]}) {SOURCE_NAMES[name]}" for name in used) + "."
    )


def dsc_cell(score: Score | None, rank: Rank | None = None, said: Reported | None = None, mark: str = "") -> Cell:
    """Mean ± standard deviation of ``score``, what is reported beside it, and ``mark`` as a superscript."""
    return Cell(
        value=number(None if score is None else score.mean, f".{DECIMALS}f"),
        spread=None if score is None or score.sd is None else f"{score.sd:.{DECIMALS}f}",
        rank=rank,
        stars=mark,
        reported=None if said is None else f"{said.value:.2f}",
        source="" if said is None else SOURCE_LETTERS[said.source],
    )


def _columns(datasets: Sequence[str]) -> list[str]:
    return [*datasets, AVERAGE] if len(datasets) > 1 else list(datasets)


class _Scores:
    """Scores of all rows of a table, and their marks by column."""

    def __init__(self, dsc: pd.DataFrame, rows: Sequence[str], variants: Sequence[str], datasets: Sequence[str]):
        nothing = dict.fromkeys([*datasets, AVERAGE])
        self.of = {row: measured(dsc, row, datasets) if row in variants else nothing for row in rows}
        self.rank: dict[tuple[str, str], Any] = {}
        for column in _columns(datasets):
            values = [None if self.of[row][column] is None else self.of[row][column].mean for row in rows]
            self.rank |= {(row, column): rank for row, rank in zip(rows, ranks(values, DECIMALS), strict=True)}


def main_table(
    dsc: pd.DataFrame,
    reported_table: pd.DataFrame,
    variants: Sequence[str],
    datasets: Sequence[str],
    labels: Mapping[str, str],
    note: str = "",
    comparison: pd.DataFrame | None = None,
) -> tuple[pd.DataFrame, Table]:
    """DSC by variant and dataset, then the methods for which there are reported numbers only.

    Args:
        dsc: as dsc.csv. reported_table: as reported.csv.
        comparison: as comparison.csv (dataset, variant, reference, p_holm), for the marks of significance.

    Returns:
        The machine-readable table (points; one value a column) and the table for print.
    """
    alone = [method for method in REPORTED_ONLY if method not in variants]
    alone = [method for method in alone if (reported_table["method"] == method).any()]
    rows = [*variants, *alone]
    columns = _columns(datasets)
    scores = _Scores(dsc, rows, variants, datasets)
    marks = _significance(comparison)
    said = {(row, column): reported(reported_table, row, column) for row in rows for column in columns}
    records, printed = [], []
    for row in rows:
        record: dict[str, Any] = {"variant": row, "label": variant_label(labels, row), "reported_only": row in alone}
        for column in columns:
            record |= _record(column, scores.of[row][column], said[row, column])
        records.append(record)
        cells = [
            dsc_cell(scores.of[row][column], scores.rank[row, column], said[row, column], marks.get((column, row), ""))
            for column in columns
        ]
        name = f"{variant_label(labels, row)} (reported only)" if row in alone else variant_label(labels, row)
        printed.append((name, cells))
    footnotes = [MEASURED_NOTE, _source_note(list(said.values()))]
    if any(said["end_to_end", column] for column in columns if "end_to_end" in rows):
        footnotes.append(DECODER_NOTE)
    if any(marks.values()):
        footnotes.append(_star_note(variant_label(labels, comparison["reference"].iloc[0])))
    table = Table(
        title="DSC (%) by dataset, measured [reported]",
        header=["Method", *map(dataset_label, columns)],
        rows=printed,
        footnotes=[footnote for footnote in footnotes if footnote],
        note=note,
        label="main",
        rules=frozenset({len(variants)} if alone else ()),
    )
    return pd.DataFrame(records), table


def _record(column: str, score: Score | None, said: Reported | None) -> dict[str, Any]:
    return {
        column: None if score is None else round(score.mean, 6),
        f"{column}_sd": None if score is None or score.sd is None else round(score.sd, 6),
        f"{column}_seeds": 0 if score is None else score.seeds,
        f"{column}_reported": None if said is None else said.value,
        f"{column}_source": None if said is None else said.source,
    }


def _significance(comparison: pd.DataFrame | None) -> dict[tuple[str, str], str]:
    if comparison is None:
        return {}
    return {(row.dataset, row.variant): stars(row.p_holm) for row in comparison.itertuples()}


def efficiency_table(
    dsc: pd.DataFrame,
    cost: pd.DataFrame,
    reported_table: pd.DataFrame,
    variants: Sequence[str],
    datasets: Sequence[str],
    labels: Mapping[str, str],
    note: str = "",
) -> tuple[pd.DataFrame, Table]:
    """What each variant costs and what it reaches; reported numbers beside.

    Args:
        cost: as cost.csv, indexed by variant.
    """
    alone = [method for method in REPORTED_ONLY if method not in variants]
    alone = [method for method in alone if (reported_table["method"] == method).any()]
    rows = [*variants, *alone]
    average = _columns(datasets)[-1]
    scores = _Scores(dsc, rows, variants, datasets)

    def at(row: str, column: str) -> float | None:
        if row not in cost.index or column not in cost.columns or pd.isna(cost.loc[row, column]):
            return None
        return float(cost.loc[row, column])

    records = []
    for row in rows:
        score, said = scores.of[row][average], reported(reported_table, row, average)
        parameters, said_parameters = at(row, "trainable_parameters"), reported_parameters(reported_table, row)
        per_million = score.mean / (parameters / 1e6) if score is not None and parameters else None
        said_per_million = said.value / (said_parameters / 1e6) if said is not None and said_parameters else None
        records.append(
            {
                "variant": row,
                "label": variant_label(labels, row),
                "reported_only": row in alone,
                "trainable_parameters": None if parameters is None else int(parameters),
                "trainable_parameters_reported": said_parameters,
                "trainable_percent": at(row, "trainable_percent"),
                "inference_gmacs": at(row, "inference_gmacs"),
                "training_gflops": at(row, "training_gflops") if parameters else None,
                "dsc": None if score is None else round(score.mean, 6),
                "dsc_sd": None if score is None or score.sd is None else round(score.sd, 6),
                "dsc_seeds": 0 if score is None else score.seeds,
                "dsc_reported": None if said is None else said.value,
                "dsc_source": None if said is None else said.source,
                "dsc_per_million": None if per_million is None else round(per_million, 6),
                "dsc_per_million_reported": None if said_per_million is None else round(said_per_million, 6),
            }
        )
    frame = pd.DataFrame(records).astype({"trainable_parameters": "Int64", "trainable_parameters_reported": "Int64"})

    def column_ranks(column: str, decimals: int, largest: bool) -> list[Any]:
        return ranks([None if pd.isna(value) else float(value) for value in frame[column]], decimals, largest)

    rank_per_million = column_ranks("dsc_per_million", DECIMALS, True)
    decimals = {name: _decimals(frame[name]) for name in ("inference_gmacs", "training_gflops")}
    rank_gmacs, rank_training = (column_ranks(name, places, False) for name, places in decimals.items())
    printed = []
    for index, record in enumerate(records):
        said = None if record["dsc_source"] is None else Reported(record["dsc_reported"], record["dsc_source"])
        source = SOURCE_LETTERS["paper"] if record["trainable_parameters_reported"] is not None else ""
        score = scores.of[record["variant"]][average]
        cells = [
            Cell(
                number(record["trainable_parameters"], ",d"),
                reported=_optional(record["trainable_parameters_reported"], ",d"),
                source=source,
            ),
            Cell(number(record["trainable_percent"], ".3g")),
            Cell(number(record["inference_gmacs"], f".{decimals['inference_gmacs']}f"), rank=rank_gmacs[index]),
            Cell(number(record["training_gflops"], f".{decimals['training_gflops']}f"), rank=rank_training[index]),
            dsc_cell(score, scores.rank[record["variant"], average], said),
            Cell(
                number(record["dsc_per_million"], f".{DECIMALS}f"),
                rank=rank_per_million[index],
                reported=_optional(record["dsc_per_million_reported"], f".{DECIMALS}f"),
            ),
        ]
        name = f"{record['label']} (reported only)" if record["reported_only"] else record["label"]
        printed.append((name, cells))
    footnotes = [
        MEASURED_NOTE,
        "GMAC: multiply-adds of one image's inference (fvcore); training GFLOP: one image's forward and backward pass "
        "(PyTorch's counter, two operations a multiply-add); cheapest marked. DSC per million: DSC points divided by "
        "millions of trained parameters.",
        _source_note([reported(reported_table, row, average) for row in rows]),
    ]
    if "end_to_end" in rows:
        footnotes.append(DECODER_NOTE)
    over = "average over datasets" if len(datasets) > 1 else dataset_label(datasets[0])
    table = Table(
        title=f"Cost and DSC (%, {over}), measured [reported]",
        header=["Method", "Trained parameters", "Trained (%)", "GMAC", "Training GFLOP", "DSC (%)", "DSC per million"],
        rows=printed,
        footnotes=[footnote for footnote in footnotes if footnote],
        note=note,
        label="efficiency",
        rules=frozenset({len(variants)} if alone else ()),
    )
    return frame, table


def _decimals(values: pd.Series) -> int:
    """Decimals with which the smallest of ``values`` above zero shows three significant digits; at least two."""
    positive = [float(value) for value in values.dropna() if value > 0]
    return max(2, 2 - math.floor(math.log10(min(positive)))) if positive else 2


def _optional(value: Any, pattern: str) -> str | None:
    return None if value is None or pd.isna(value) else format(value, pattern)


def ablation_table(
    dsc: pd.DataFrame,
    variants: Sequence[str],
    datasets: Sequence[str],
    reference: str,
    title: str,
    labels: Mapping[str, str],
    name: str,
    note: str = "",
    cost: pd.DataFrame | None = None,
    comparison: pd.DataFrame | None = None,
) -> tuple[pd.DataFrame, Table]:
    """DSC of a family of variants by dataset, and the difference of each to ``reference`` on the last column's DSC.

    Args:
        name: label of the table in LaTeX.
        cost: as cost.csv by variant; adds the trained parameters.
        comparison: as :func:`family_tests` gives it, for the marks of significance.

    Raises:
        PipelineError: ``reference`` is not among ``variants``.
    """
    if reference not in variants:
        raise PipelineError(f"--reference: {reference!r} is not among the variants ({', '.join(variants)})")
    columns = _columns(datasets)
    scores = _Scores(dsc, variants, variants, datasets)
    marks = _significance(comparison)
    base = scores.of[reference][columns[-1]]
    records, printed = [], []
    for variant in variants:
        score = scores.of[variant][columns[-1]]
        difference = None if score is None or base is None else score.mean - base.mean
        parameters = None
        if cost is not None and variant in cost.index:
            parameters = int(cost.loc[variant, "trainable_parameters"])
        record: dict[str, Any] = {"variant": variant, "label": variant_label(labels, variant)}
        record["trainable_parameters"] = parameters
        for column in columns:
            entry = _record(column, scores.of[variant][column], None)
            record |= {key: value for key, value in entry.items() if not key.endswith(("_reported", "_source"))}
        record["difference"] = None if difference is None else round(difference, 6)
        records.append(record)
        cells = [Cell(number(parameters, ",d"))] if cost is not None else []
        cells += [
            dsc_cell(scores.of[variant][column], scores.rank[variant, column], None, marks.get((column, variant), ""))
            for column in columns
        ]
        shown = number(difference, f"+.{DECIMALS}f")
        cells.append(Cell("reference" if variant == reference else shown))
        printed.append((variant_label(labels, variant), cells))
    footnotes = [
        MEASURED_NOTE,
        f"Difference: to {variant_label(labels, reference)}, DSC points"
        + (", of the average." if len(datasets) > 1 else "."),
    ]
    if any(marks.values()):
        footnotes.append(_star_note(variant_label(labels, reference)))
    header = [
        "Variant",
        *(["Trained parameters"] if cost is not None else []),
        *map(dataset_label, columns),
        "Difference",
    ]
    table = Table(f"{title}: DSC (%)", header, printed, footnotes, note, name)
    frame = pd.DataFrame(records).astype({"trainable_parameters": "Int64"})
    return (frame if cost is not None else frame.drop(columns="trainable_parameters")), table


def family_tests(runs: Sequence[Run], reference: str) -> pd.DataFrame:
    """Tests of each variant of a family against ``reference``, paired by case; Holm's correction over the family."""
    from pipeline.evaluation.statistics import significance

    return significance(pair_cases(runs), reference)


def with_provenance(table: Table, runs: Sequence[Run], scores: Callable[[Run], Sequence[Path]] | None = None) -> Table:
    """``table`` with a footnote that says from which runs, code and data it was made; as it is without ``runs``.

    Args:
        scores: as in :func:`pipeline.evaluation.provenance.describe_runs`, if not the runs' own scores.

    Raises:
        PipelineError: a run lacks its per-case scores or its manifest.
    """
    return dataclasses.replace(table, footnotes=[*table.footnotes, describe_runs(runs, scores)]) if runs else table


def filled(frame: pd.DataFrame) -> pd.DataFrame:
    """``frame`` as its CSV shows it: what was not run is ``n/a``."""
    return frame.astype(object).where(frame.notna(), NOT_AVAILABLE)


def write(frame: pd.DataFrame, table: Table, output: str | Path) -> None:
    """Write ``output``.csv, .md and .tex; what was not run is ``n/a`` in all three."""
    output = Path(output)
    write_csv(output.with_name(f"{output.name}.csv"), filled(frame))
    write_text(output.with_name(f"{output.name}.md"), markdown(table))
    write_text(output.with_name(f"{output.name}.tex"), latex(table))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", choices=["main", "efficiency", "ablation"], help="which table")
    parser.add_argument("--dsc", required=True, help="dsc.csv")
    parser.add_argument("--cost", help="cost.csv (efficiency; optional in an ablation)")
    parser.add_argument("--reported", help="reported.csv (main and efficiency)")
    parser.add_argument("--comparison", help="comparison.csv, for marks of significance (main; optional)")
    parser.add_argument("--datasets", type=json_value("--datasets", list), required=True, help="JSON list, in order")
    parser.add_argument("--reference", help="variant that the others are compared with (ablation)")
    parser.add_argument("--title", default="Ablation", help="heading (ablation)")
    # The runs that --dsc was collected from: for the footnote on provenance and, in an ablation, marks of significance.
    add_run_options(parser, required=False)
    add_variants(parser)
    add_labels(parser)
    add_output(parser, TABLE_SUFFIXES)
    arguments = parser.parse_args()
    needed = {"main": ["reported"], "efficiency": ["cost", "reported"], "ablation": ["reference"]}[arguments.table]
    for option in needed:
        if getattr(arguments, option) is None:
            raise PipelineError(f"tables {arguments.table}: --{option} is missing; give it")
    dsc = read_dsc(arguments.dsc)
    cost = read_cost(arguments.cost) if arguments.cost else None
    comparison = None
    if arguments.comparison:
        comparison = read_table(arguments.comparison, ["dataset", "variant", "reference", "p_holm"])
    selection, runs = (arguments.variants, arguments.datasets), chosen_runs(arguments)
    labels, note = arguments.labels, arguments.note
    if arguments.table == "main":
        frame, table = main_table(dsc, read_reported(arguments.reported), *selection, labels, note, comparison)
    elif arguments.table == "efficiency":
        frame, table = efficiency_table(dsc, cost, read_reported(arguments.reported), *selection, labels, note)
    else:
        name, reference = Path(arguments.output).name, arguments.reference
        tests = family_tests(runs, reference) if runs else None
        frame, table = ablation_table(dsc, *selection, reference, arguments.title, labels, name, note, cost, tests)
    write(frame, with_provenance(table, runs), arguments.output)


if __name__ == "__main__":
    run_command(main)
