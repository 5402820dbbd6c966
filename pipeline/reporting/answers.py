"""Answers to the questions of further families, one sentence each, for paper.md."""

from collections.abc import Callable

import pandas as pd

from pipeline.evaluation.methods import OUTCOMES

CHANGES = ["dataset", "variant", "difference", "low", "high", "outcome"]
"""Columns of a table of changes, differences in DSC points."""
TRANSFERS = ["transfer", "variant", "outcome"]


def _amount(row: pd.Series) -> str:
    """The difference and its interval, if there is one, in words."""
    ends = "" if pd.isna(row["low"]) else f", 95% interval {row['low']:+.2f} to {row['high']:+.2f}"
    return f"{row['difference']:+.2f} points{ends}"


def _counted(outcomes: pd.Series) -> str:
    """How often each outcome is there."""
    return ", ".join(f"{count} {outcome}" for outcome in OUTCOMES if (count := int((outcomes == outcome).sum())))


def changes(table: pd.DataFrame, variant: str, setting: str, names: Callable[[str], str]) -> str:
    """How ``variant`` changes in another setting, dataset by dataset, and how often each outcome is over all variants.

    Args:
        table: columns :data:`CHANGES`.
        variant: the method that is named; the table's first one if it has no row.
        setting: what is different, as it follows the method's name.
        names: display names.
    """
    own = table[table["variant"] == variant]
    own = table[table["variant"] == table["variant"].iloc[0]] if own.empty else own
    parts = [f"{row['outcome']} on {names(row['dataset'])} ({_amount(row)})" for _, row in own.iterrows()]
    counted = f"of all {len(table)} comparisons {_counted(table['outcome'])}"
    return f"{names(own['variant'].iloc[0])} {setting}: {', '.join(parts)}; {counted}."


def transfers(table: pd.DataFrame, reference: str, names: Callable[[str], str]) -> str:
    """How many methods are better or worse than ``reference`` on datasets that they were not trained on.

    Args:
        table: columns :data:`TRANSFERS`, a row for each kind of transfer and method but the reference.
        names: display names.
    """
    parts = []
    for kind, rows in table.groupby("transfer", sort=False):
        parts.append(f"{kind} {_counted(rows['outcome'])}")
    return f"The other methods, compared with {names(reference)}: {'; '.join(parts)}."
