"""What tables of DSC share: scores by row and column with their marks, cells, footnotes."""

import argparse
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from pipeline.evaluation.aggregate import SOURCES, Reported, Score, measured
from pipeline.evaluation.readers import AVERAGE
from pipeline.evaluation.runs import Run, listed_runs
from pipeline.reporting.formats import NOT_AVAILABLE, number
from pipeline.reporting.markup import Cell, Rank, ranks
from pipeline.reporting.options import REPORTED_ONLY, label

DECIMALS = 2
SOURCE_LETTERS = {"paper": "a", "vlsm-adapter": "b", "medvlsm": "c"}
SOURCE_NAMES = {
    "paper": "the Telescopic Adapters paper (arXiv 2512.13855)",
    "vlsm-adapter": "the VLSM-Adapter paper",
    "medvlsm": "the MedVLSM repository's results",
}
MEASURED_NOTE = (
    "Measured: mean ± standard deviation over seeds of the test set's mean DSC, in percent; no ± for a single "
    f"seed; {NOT_AVAILABLE}: not run. Average: over the datasets within each seed, then over seeds. "
    "Best measured value bold, second best underlined; values equal as shown share the mark."
)
DECODER_NOTE = (
    "The reported end-to-end numbers come, as far as their public code shows, from training only CLIPSeg's decoder: "
    "compare them with the measured decoder-only row."
)
STAR_LEVELS = ((0.001, "***"), (0.01, "**"), (0.05, "*"))


class Selection(NamedTuple):
    """What a table of DSC shows.

    Attributes:
        variants: rows, in order.
        datasets: columns, in order.
        labels: display names of variants and datasets.
        note: provenance that the table shows; may be empty.
        runs: the runs whose scores are shown; the last footnote describes them.
    """

    variants: Sequence[str]
    datasets: Sequence[str]
    labels: Mapping[str, str]
    note: str
    runs: Sequence[Run]


def selected(arguments: argparse.Namespace) -> Selection:
    """What the options of :func:`pipeline.reporting.options.add_dsc_options` select."""
    runs = listed_runs(arguments.results, arguments.runs)
    return Selection(arguments.variants, arguments.datasets, arguments.labels, arguments.note, runs)


class Scores:
    """Scores of variants by dataset, in DSC points, ranked within each column.

    Attributes:
        columns: the datasets, then ``average`` if there are several.
    """

    def __init__(self, dsc: pd.DataFrame, variants: Sequence[str], datasets: Sequence[str]):
        self.columns = [*datasets, AVERAGE] if len(datasets) > 1 else list(datasets)
        self._scores: dict[tuple[str, str], Score] = {}
        for variant in variants:
            for column, score in measured(dsc, variant, datasets).items():
                if score is not None:
                    self._scores[variant, column] = score
        self._ranks: dict[tuple[str, str], Rank | None] = {}
        for column in self.columns:
            means = [score and score.mean for score in (self.of(variant, column) for variant in variants)]
            self._ranks |= {
                (variant, column): rank for variant, rank in zip(variants, ranks(means, DECIMALS), strict=True)
            }

    def of(self, variant: str, column: str) -> Score | None:
        """The score of ``variant``, or None if it was not run."""
        return self._scores.get((variant, column))

    def cell(self, variant: str, column: str, reported: Reported | None = None, mark: str = "") -> Cell:
        """The score with its rank, the reported number beside it, and ``mark`` as a superscript."""
        return dsc_cell(self.of(variant, column), self._ranks.get((variant, column)), reported, mark)


def dsc_cell(score: Score | None, rank: Rank | None = None, reported: Reported | None = None, mark: str = "") -> Cell:
    """Mean ± standard deviation of ``score``, the reported number beside it, and ``mark`` as a superscript."""
    return Cell(
        value=number(score and score.mean, f".{DECIMALS}f"),
        spread=None if score is None or score.sd is None else f"{score.sd:.{DECIMALS}f}",
        rank=rank,
        stars=mark,
        reported=None if reported is None else f"{reported.value:.{DECIMALS}f}",
        source="" if reported is None else SOURCE_LETTERS[reported.source],
    )


def score_record(column: str, score: Score | None) -> dict[str, Any]:
    """Mean and standard deviation of ``score`` as entries of a CSV's row; None where there is none."""
    return {
        column: None if score is None else round(score.mean, 6),
        f"{column}_sd": None if score is None or score.sd is None else round(score.sd, 6),
    }


def seeds_record(column: str, score: Score | None) -> dict[str, Any]:
    """As :func:`score_record`, with the number of seeds."""
    return score_record(column, score) | {f"{column}_seeds": 0 if score is None else score.seeds}


def reported_record(column: str, reported: Reported | None) -> dict[str, Any]:
    """A reported number and its source as entries of a CSV's row; None where there is none."""
    return {f"{column}_reported": reported and reported.value, f"{column}_source": reported and reported.source}


def reported_only(reported_table: pd.DataFrame, variants: Sequence[str]) -> list[str]:
    """The methods of ``reported_table`` that appear with their reported numbers only."""
    there = set(reported_table["method"])
    return [method for method in REPORTED_ONLY if method not in variants and method in there]


def row_name(labels: Mapping[str, str], method: str, is_reported_only: bool) -> str:
    """The name of a row of measured and reported numbers."""
    return f"{label(labels, method)} (reported only)" if is_reported_only else label(labels, method)


def stars(p: float | None) -> str:
    """``*``, ``**`` or ``***`` for p below 0.05, 0.01 or 0.001; nothing otherwise or where there was no test."""
    if p is None or pd.isna(p):
        return ""
    return next((mark for level, mark in STAR_LEVELS if p < level), "")


def significance_marks(tests: pd.DataFrame) -> dict[tuple[str, str], str]:
    """Stars by variant and dataset from a table with columns dataset, variant, p_holm."""
    return {(row.variant, row.dataset): stars(row.p_holm) for row in tests.itertuples()}


def star_note(reference: str) -> str:
    """The footnote on :func:`stars`; ``reference`` is a display name."""
    return (
        f"*, **, ***: differs from {reference} with p < 0.05, 0.01, 0.001 "
        "(Wilcoxon signed-rank test over paired cases, for the average over datasets; Holm's correction over the "
        "family of comparisons)."
    )


def source_note(cells: Iterable[Reported | None]) -> list[str]:
    """The footnote on the sources of reported numbers, if there are any."""
    present = {cell.source for cell in cells if cell is not None}
    used = [f"({SOURCE_LETTERS[name]}) {SOURCE_NAMES[name]}" for name in SOURCES if name in present]
    return [f"In brackets: reported by {', '.join(used)}."] if used else []
