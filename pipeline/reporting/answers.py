"""Answers to the questions of further families, one sentence each, for paper.md."""

from collections.abc import Callable

import pandas as pd

from pipeline.evaluation.methods import OUTCOMES

CHANGES = ["dataset", "variant", "difference", "low", "high", "outcome"]
"""Columns of a table of changes, differences in DSC points."""
TRANSFERS = ["transfer", "variant", "outcome"]
TUNED = ["setting", "variant"]
PROMPTS = ["evaluated", "dataset", "difference", "low", "high", "outcome"]
GRADIENTS = ["base_dimension", "runs", "ratio", "low", "high", "skipped_percent"]
METHODS = ["variant", "trainable_parameters", "dsc", "rank", "rank_critical", "rank_p", "front_trainable_parameters"]
TEST_TIME = {
    "prompt_ensemble": "probabilities averaged over prompts",
    "mirror": "probabilities averaged with the mirror image's",
    "tuned_threshold": "the threshold of validation",
}
"""Differences of tables/evaluation_choices.csv, and what is done."""
EXPLOSION = 10.0
"""Largest gradients that are surely so many times those of D = 64 count as exploding."""
CLAIMED_DIMENSION = 64


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


def untrained(table: pd.DataFrame, variant: str, names: Callable[[str], str]) -> str:
    """What the change of the test cases does by itself: how ``variant``, which is not trained, changes; "" without it.

    Args:
        table: columns :data:`CHANGES`.
        names: display names.
    """
    own = table[table["variant"] == variant]
    if own.empty:
        return ""
    parts = [f"{row['difference']:+.2f} points on {names(row['dataset'])}" for _, row in own.iterrows()]
    return (
        f" {names(variant)}, which is not trained, changes by {', '.join(parts)}: that is owed to the test cases alone."
    )


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


def family(table: pd.DataFrame, reference: str, names: Callable[[str], str]) -> str:
    """How the variants of a family compare with its reference: on average, or on the only dataset.

    Args:
        table: as tables/ablation_{family}.csv: variant, and an outcome for each dataset, the average last.
        names: display names.
    """
    outcome = [column for column in table.columns if column.endswith("_outcome")][-1]
    found = {name: table.loc[table[outcome] == name, "variant"] for name in OUTCOMES}
    # Names may hold commas.
    parts = [
        f"{name.capitalize()}: {'; '.join(map(names, variants))}." for name, variants in found.items() if len(variants)
    ]
    place = names(outcome.removesuffix("_outcome"))
    return " ".join([f"Against {names(reference)} ({place}).", *parts]) if parts else "Not run."


def tuned(table: pd.DataFrame, names: Callable[[str], str]) -> str:
    """Whether outcomes against the reference are others where all methods are tuned alike, and what tuning itself does.

    Args:
        table: as tables/tuned.csv: columns :data:`TUNED`, and outcomes for each dataset, the average last.
            The reference is the method without an outcome.
        names: display names.
    """
    column = [name for name in table.columns if name.endswith("_outcome") and not name.endswith("_change_outcome")][-1]
    place = names(column.removesuffix("_outcome"))
    protocol, after = (table[table["setting"] == setting].set_index("variant") for setting in ("protocol", "tuned"))
    (reference,) = after.index[~after[column].isin(OUTCOMES)]
    before, now = (part[column].drop(reference) for part in (protocol, after))
    other = [f"{names(name)}, {before[name]} before and {now[name]} after" for name in now.index[before != now]]
    found = {outcome: [names(name) for name in now.index[now == outcome]] for outcome in OUTCOMES}
    ranking = "; ".join(f"{outcome}: {'; '.join(shown)}" for outcome, shown in found.items() if shown)
    change = after[column.replace("_outcome", "_change_outcome")]
    kept = int((~change.isin(OUTCOMES)).sum())
    itself = ", ".join(part for part in (_counted(change), f"{kept} with the same rates" if kept else "") if part)
    return (
        f"Outcomes against {names(reference)} ({place}) that tuning changes: {'; '.join(other) or 'none'}. With all "
        f"methods tuned alike, {ranking}. Tuned against the protocol's rates, of {len(change)} methods: {itself}."
    )


def at_test_time(table: pd.DataFrame, variant: str, names: Callable[[str], str]) -> str:
    """What averages of predictions and another threshold change about the DSC of ``variant``, and of all methods.

    Args:
        table: as tables/evaluation_choices.csv, of which the last dataset counts, or the average.
        names: display names.
    """
    place = table["dataset"].iloc[-1]
    rows = table[table["dataset"] == place].set_index("variant")
    found = {words: rows.get(f"{choice}_difference", pd.Series()).dropna() for choice, words in TEST_TIME.items()}
    parts = [
        f"{words}, {values[variant]:+.2f} points ({values.min():+.2f} to {values.max():+.2f} in {len(values)} methods)"
        for words, values in found.items()
        if variant in values
    ]
    return f"{names(variant)} ({names(place)}): {'; '.join(parts)}." if parts else "Not run."


def methods(table: pd.DataFrame, names: Callable[[str], str]) -> str:
    """Which methods are on the front of DSC and trained parameters, and which of all cannot be told from the best.

    Args:
        table: columns :data:`METHODS`; DSC in points.
        names: display names.
    """
    ends = table[table["front_trainable_parameters"]].sort_values("trainable_parameters")
    shown = [f"{names(row.variant)} ({row.dsc:.2f}% with {row.trainable_parameters:,.0f})" for row in ends.itertuples()]
    if not shown:
        return "Not run."
    text = f"On the front of DSC and trained parameters, of {len(table)} methods: {'; '.join(shown)}."
    critical, p = table["rank_critical"].iloc[0], table["rank_p"].iloc[0]
    if pd.isna(critical):
        return f"{text} Too few trainings for a test of ranks."
    best = table.loc[table["rank"].idxmin()]
    near = int((table["rank"] - best["rank"] < critical).sum()) - 1
    return (
        f"{text} The best mean rank, {best['rank']:.1f}, is that of {names(best['variant'])}; less than the critical "
        f"difference of {critical:.2f} away (Nemenyi, 5%; Friedman's p = {p:.2g}): {near} of the others."
    )


def prompts(table: pd.DataFrame, names: Callable[[str], str]) -> str:
    """How models that were trained with one prompt type compare with one trained with all.

    Args:
        table: columns :data:`PROMPTS`; of each kind of evaluation the average over datasets is last, if there is one.
        names: display names.
    """
    last = table.drop_duplicates("evaluated", keep="last")
    parts = [f"{row['outcome']} under {row['evaluated']} ({_amount(row)})" for _, row in last.iterrows()]
    return f"Models that were trained with one type, against one trained with all: {', '.join(parts)}."


def gradients(table: pd.DataFrame, note: str) -> str:
    """Whether gradients explode where the base dimension exceeds 64, as the paper says.

    Args:
        table: columns :data:`GRADIENTS`, ratios to D = 64.
        note: why it is no verdict on the paper; empty where it is one.
    """
    wide = table[table["base_dimension"] > CLAIMED_DIMENSION].dropna(subset="ratio")
    if wide.empty:
        return "**Not run**: no variant has a larger base dimension."
    parts = []
    for row in wide.itertuples():
        ends = "" if pd.isna(row.low) else f"95% interval {row.low:.2f} to {row.high:.2f}; "
        parts.append(
            f"{row.ratio:.2f} times at D = {row.base_dimension} ({ends}{row.skipped_percent:.2f}% skipped steps)"
        )
    verdict = "Not resolved"
    if (wide["low"] > EXPLOSION).any():
        verdict = "Supported"
    elif (wide["high"] < EXPLOSION).all():
        verdict = "Contradicted"
    fact = f"the largest gradient norm before clipping is, against D = {CLAIMED_DIMENSION}, {', '.join(parts)}"
    return f"**{'Not comparable' if note else verdict}** (exploding: surely over {EXPLOSION:g} times): {fact}."
