"""What does not add up in the paper by itself: numbers that it states against those that it cites, for paper.md."""

from collections.abc import Callable

import pandas as pd

from pipeline.evaluation.aggregate import SOURCES, reported
from pipeline.evaluation.readers import AVERAGE
from pipeline.evaluation.reproduction import ROUNDING, averaged_datasets
from pipeline.reporting import markdown

HEADER = ["Number", "Stated by the paper", "Follows from its numbers", "How"]
STATED_GAIN = (2.3, 4.2)
"""Points of DSC that the telescopic adapters gain over zero-shot CLIPSeg, according to the paper's text."""
METHOD, ZERO_SHOT = "telescopic", "zero_shot"


def averages(reported_table: pd.DataFrame) -> pd.DataFrame:
    """The averages that the paper states beside the means of the single numbers behind them.

    Args:
        reported_table: as reported.csv (points).

    Returns:
        One row for each method of which a source has a number for each of the averaged datasets: method, source (the
        paper's own numbers first), stated, mean (points), agrees (to rounding).
    """
    datasets, rows = averaged_datasets(reported_table), []
    dsc = reported_table[reported_table["metric"] == "dsc"]
    for method in dict.fromkeys(dsc["method"]):
        stated = reported(dsc[dsc["source"] == SOURCES[0]], method, AVERAGE)
        for source in SOURCES:
            own = dsc[(dsc["method"] == method) & (dsc["source"] == source)].set_index("dataset")["value"]
            if stated and datasets and set(datasets) <= set(own.index):
                mean = float(own[datasets].mean())
                agrees = abs(mean - stated.value) <= ROUNDING + 1e-9
                rows.append((method, source, stated.value, mean, agrees))
                break
    return pd.DataFrame(rows, columns=["method", "source", "stated", "mean", "agrees"])


def inconsistencies(reported_table: pd.DataFrame, names: Callable[[str], str]) -> list[str]:
    """The lines of a section of paper.md: what does not follow from the reported numbers, and what was checked.

    Args:
        reported_table: as reported.csv (points).
        names: display names, escaped for Markdown.
    """
    checked = averages(reported_table)
    cells = [
        [
            f"average DSC of {names(row.method)}",
            f"{row.stated:.2f}",
            f"{row.mean:.2f}",
            f"mean of the rows of {row.source}",
        ]
        for row in checked[~checked["agrees"]].itertuples()
    ]
    method, zero_shot = (reported(reported_table, name, AVERAGE) for name in (METHOD, ZERO_SHOT))
    if method and zero_shot:
        low, high = STATED_GAIN
        gain = method.value - zero_shot.value
        if not low <= gain <= high:
            how = f"averages: {method.value:.2f} less {zero_shot.value:.2f}"
            cells.append([f"gain over {names(ZERO_SHOT)}", f"{low} to {high}", f"{gain:.2f}", how])
    agreeing = [names(method) for method in checked.loc[checked["agrees"], "method"]]
    lines = markdown.table(HEADER, cells, "lrrl") if cells else ["Nothing was found."]
    if agreeing:
        lines += ["", f"The averages of {', '.join(agreeing)} are the means of their rows. DSC in points."]
    return lines
