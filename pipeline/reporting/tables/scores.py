"""What tables of DSC share: scores by row and column with their marks, cells, footnotes."""

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import pandas as pd

from pipeline.evaluation.aggregate import SOURCES, Reported, Score, measured, reported
from pipeline.evaluation.readers import AVERAGE
from pipeline.reporting.formats import NOT_AVAILABLE, number
from pipeline.reporting.markup import Cell, Rank, ranks
from pipeline.reporting.options import REPORTED_ONLY, label

DSC_OPTIONS = ("results", "runs", "dsc", "datasets", "variants")
"""Options of a table of DSC by variant and dataset."""
DECIMALS = 2
SOURCE_LETTERS = {"paper": "a", "vlsm-adapter": "b", "medvlsm": "c"}
SOURCE_NAMES = {
    "paper": "the Telescopic Adapters paper (arXiv 2512.13855)",
    "vlsm-adapter": "the VLSM-Adapter paper",
    "medvlsm": "the MedVLSM repository's results",
}
SOURCE_TITLES = {"paper": "Telescopic Adapters", "vlsm-adapter": "VLSM-Adapter", "medvlsm": "MedVLSM"}
"""The same where a column names them."""
MEASURED_NOTE = (
    "Measured: mean ± standard deviation over seeds of the test set's mean DSC, in percent; no ± for a single "
    f"seed; {NOT_AVAILABLE}: not run. Average: over the datasets within each seed, then over seeds. "
    "Best measured value bold, second best underlined; values equal as shown share the mark."
)
PROMPT_HEADER = "SD over prompts"
_PROMPT_NOTE = (
    f"{PROMPT_HEADER}: standard deviation over prompt types of the test set's mean DSC, averaged over datasets and "
    f"seeds, points; {NOT_AVAILABLE} where a variant is evaluated under one type. Scores are means over these types, "
    "so ± is the variation between trainings alone."
)
DECODER_NOTE = (
    "The reported end-to-end numbers come, as far as their public code shows, from training only CLIPSeg's decoder: "
    "compare them with the measured decoder-only row."
)


class Scores:
    """Measured scores by row and column, ranked within each column, and the reported ones beside them.

    Attributes:
        rows: the variants, then the methods of which there are reported numbers only.
        others: the latter.
        datasets: the datasets.
        columns: the same, then ``average`` if there are several.
        prompt_header, prompt_note: what goes with :meth:`prompt_cells`.
        with_target: the same over the cases that have a target, of those datasets in which some have none.
    """

    def __init__(
        self,
        dsc: pd.DataFrame,
        variants: Sequence[str],
        datasets: Sequence[str],
        reported_table: pd.DataFrame | None = None,
        metric: str = "dsc",
    ):
        """``dsc`` as dsc.csv; ``reported_table`` as reported.csv, without which nothing reported is shown.

        DSC, IoU and NSD (``metric``: as :func:`pipeline.evaluation.aggregate.measured`) are in points, and the largest
        is best; of others the smallest. Of ``dsc`` the columns prompt_sd, cases, cases_with_target and dsc_with_target
        may be absent.
        """
        self.datasets = list(datasets)
        self.columns = [*datasets, AVERAGE] if len(datasets) > 1 else list(datasets)
        if reported_table is not None:
            reported_table = reported_table[reported_table["metric"] == metric]
        of_datasets = None if reported_table is None else reported_table[reported_table["dataset"].isin(self.datasets)]
        there = set() if of_datasets is None else set(of_datasets["method"])
        self.others = [method for method in REPORTED_ONLY if method in there and method not in variants]
        self.rows = [*variants, *self.others]
        self._scores = {variant: measured(dsc, variant, datasets, metric) for variant in variants}
        known = any(score and score.prompt_sd is not None for row in self._scores.values() for score in row.values())
        self.prompt_header, self.prompt_note = ([PROMPT_HEADER], [_PROMPT_NOTE]) if known else ([], [])
        self._reported: dict[tuple[str, str], Reported | None] = {}
        self._ranks: dict[tuple[str, str], Rank | None] = {}
        self.with_target = self._of_targets(dsc, variants, datasets) if metric == "dsc" else None
        for column in self.columns:
            means = [score and score.mean for score in (self.of(row, column) for row in self.rows)]
            places = ((row, column) for row in self.rows)
            self._ranks |= dict(zip(places, ranks(means, DECIMALS, metric in ("dsc", "iou", "nsd")), strict=True))
            if reported_table is not None:
                self._reported |= {(row, column): reported(reported_table, row, column, metric) for row in self.rows}

    @staticmethod
    def _of_targets(dsc: pd.DataFrame, variants: Sequence[str], datasets: Sequence[str]) -> "Scores | None":
        if "dsc_with_target" not in dsc:
            return None
        partly = set(dsc.loc[dsc["cases_with_target"] < dsc["cases"], "dataset"])
        rows = dsc[["dataset", "variant", "seed"]].assign(dsc=dsc["dsc_with_target"])
        return Scores(rows, variants, [name for name in datasets if name in partly]) if partly else None

    def of(self, row: str, column: str) -> Score | None:
        """The score of ``row``, or None if it was not run."""
        return self._scores.get(row, {}).get(column)

    def reported(self, row: str, column: str) -> Reported | None:
        """The reported number of ``row``, or None if there is none."""
        return self._reported.get((row, column))

    def cell(self, row: str, column: str, mark: str = "") -> Cell:
        """The score with its rank, the reported number beside it, and ``mark`` as a superscript."""
        cell = dsc_cell(self.of(row, column), self._ranks.get((row, column)))
        found = self.reported(row, column)
        if found is not None:
            shown = {"reported": f"{found.value:.{DECIMALS}f}", "source": SOURCE_LETTERS[found.source]}
            cell = dataclasses.replace(cell, **shown)
        return dataclasses.replace(cell, mark=mark)

    def record(self, row: str, column: str, name: str | None = None) -> dict[str, Any]:
        """Score, seeds and, if there are any of the table, reported number as entries ``name``... of a CSV's row."""
        name, score = name or column, self.of(row, column)
        record = score_record(name, score) | {f"{name}_seeds": score.seeds if score else 0}
        record[f"{name}_prompt_sd"] = None if score is None or score.prompt_sd is None else round(score.prompt_sd, 6)
        if self._reported:
            found = self.reported(row, column)
            record |= {f"{name}_reported": found and found.value, f"{name}_source": found and found.source}
        return record

    def prompt_cells(self, row: str) -> list[Cell]:
        """The standard deviation over prompt types of ``row`` in the last column; nothing if no row has one."""
        score = self.of(row, self.columns[-1])
        return [Cell(number(score and score.prompt_sd, f".{DECIMALS}f"))] if self.prompt_note else []

    def name(self, labels: Mapping[str, str], row: str) -> str:
        """The display name of ``row``; it tells where there are reported numbers only."""
        return f"{label(labels, row)} (reported only)" if row in self.others else label(labels, row)

    def rules(self) -> frozenset[int]:
        """The rule of :class:`pipeline.reporting.markup.Table` that sets the methods with reported numbers apart."""
        return frozenset({len(self.rows) - len(self.others)} if self.others else ())

    def source_note(self, columns: Sequence[str]) -> list[str]:
        """The footnote on the sources of the numbers reported for ``columns``, if there are any."""
        present = {found.source for (_, column), found in self._reported.items() if found and column in columns}
        used = [f"({SOURCE_LETTERS[name]}) {SOURCE_NAMES[name]}" for name in SOURCES if name in present]
        return [f"In brackets: reported by {', '.join(used)}."] if used else []


def rows_by_metric(
    table: pd.DataFrame,
    metrics: Mapping[str, str],
    variants: Sequence[str],
    datasets: Sequence[str],
    labels: Mapping[str, str],
    reported_table: pd.DataFrame | None = None,
    unranked: Collection[str] = (),
) -> tuple[pd.DataFrame, list[tuple[str, list[Cell]]], dict[str, Scores]]:
    """One row per metric and method: machine-readable, and for print, with the metric's name first; and the scores.

    Args:
        table: as dsc.csv, with a column for each of ``metrics``, whose values are their names.
        unranked: metrics of which none is best.
    """
    records, printed, by_metric = [], [], {}
    for metric, name in metrics.items():
        scores = by_metric[metric] = Scores(table, variants, datasets, reported_table, metric)
        for row in scores.rows:
            record = {"metric": metric, "variant": row, "label": label(labels, row)}
            for dataset in datasets:
                record |= scores.record(row, dataset)
            records.append(record)
            cells = [scores.cell(row, dataset) for dataset in datasets]
            if metric in unranked:
                cells = [dataclasses.replace(cell, rank=None) for cell in cells]
            printed.append((scores.name(labels, row), [Cell(name), *cells]))
    frame = pd.DataFrame(records)
    frame = frame.drop(columns=[column for column in frame if column.endswith("_prompt_sd")])
    return frame, printed, by_metric


def dsc_cell(score: Score | None, rank: Rank | None = None) -> Cell:
    """Mean ± standard deviation of ``score``."""
    spread = None if score is None or score.sd is None else f"{score.sd:.{DECIMALS}f}"
    return Cell(number(score and score.mean, f".{DECIMALS}f"), spread, rank)


def score_record(column: str, score: Score | None) -> dict[str, Any]:
    """Mean and standard deviation of ``score`` as entries of a CSV's row; None where there is none."""
    return {
        column: None if score is None else round(score.mean, 6),
        f"{column}_sd": None if score is None or score.sd is None else round(score.sd, 6),
    }
