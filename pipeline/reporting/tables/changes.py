"""What tables of two settings share: DSC in both, the difference, its interval and its outcome."""

from collections.abc import Mapping, Sequence

import pandas as pd

from pipeline.evaluation.aggregate import Score
from pipeline.reporting.formats import number
from pipeline.reporting.markup import Cell, Table, rules_between
from pipeline.reporting.options import label
from pipeline.reporting.outcomes import difference
from pipeline.reporting.tables.scores import dsc_cell


def change_table(
    frame: pd.DataFrame, title: str, settings: Sequence[str], footnote: str, labels: Mapping[str, str]
) -> Table:
    """The table for print.

    Args:
        frame: columns dataset, variant, before, before_sd, after, after_sd, seeds, difference, low, high, p_holm and
            outcome; DSC in points, NaN where a single seed gives no spread or interval.
        settings: headings of before and after.
        labels: display names of variants and datasets.
    """
    printed = []
    for row in frame.itertuples():
        spreads = [None if pd.isna(sd) else sd for sd in (row.before_sd, row.after_sd)]
        means = [dsc_cell(Score(*pair, row.seeds)) for pair in zip((row.before, row.after), spreads, strict=True)]
        cells = [difference(row), number(row.p_holm, ".3f"), row.outcome]
        printed.append((label(labels, row.variant), [Cell(label(labels, row.dataset)), *means, *map(Cell, cells)]))
    header = ["Variant", "Dataset", *settings, "Difference [95% CI]", "p (Holm)", "Outcome"]
    return Table(title, header, printed, [footnote], rules_between(frame["dataset"]))
