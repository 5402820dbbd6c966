"""Footnotes of the comparison table: how its numbers were computed, and what they cannot show."""

import math
from collections.abc import Mapping, Sequence

import pandas as pd
from scipy.stats import chi2, t

from pipeline.evaluation.pairing import Paired
from pipeline.evaluation.readers import AVERAGE
from pipeline.evaluation.statistics import friedman_p, smallest_p
from pipeline.reporting.formats import NOT_AVAILABLE
from pipeline.reporting.options import label

SIGNIFICANT = 0.05


def format_p(value: float) -> str:
    """A p-value with four decimals."""
    if pd.isna(value):
        return NOT_AVAILABLE
    return "<0.0001" if value < 0.0001 else f"{value:.4f}"


def _and(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def explanation(
    table: pd.DataFrame, paired: Mapping[str, Paired], labels: Mapping[str, str], samples: int
) -> list[str]:
    """How the numbers of ``table`` (:func:`pipeline.evaluation.statistics.compare`) were computed."""
    reference = label(labels, table["reference"].iloc[0])
    tests = int(((table["dataset"] != AVERAGE) & table["p"].notna()).sum())
    lines = [
        "DSC: mean over test cases of the case's score averaged over seeds. Difference: variant minus "
        f"{reference}, paired by case. Intervals: percentile bootstrap over cases, {samples} resamples.",
        "p: Wilcoxon's signed-rank test over cases, two-sided; p (Holm): corrected for the "
        f"{tests} comparison{'s' if tests != 1 else ''} within datasets. r: matched-pairs rank-biserial correlation; "
        "d_z: mean difference over its standard deviation between cases.",
    ]
    ranked = table[(table["dataset"] == AVERAGE) & table["average_rank"].notna()].sort_values("average_rank")
    if len(ranked):
        lines.append(
            "Rows of the average weigh datasets equally; their tests use the dataset as the unit and are corrected "
            "separately. Average ranks over datasets (1 is best): "
            + ", ".join(f"{label(labels, row.variant)} {row.average_rank:.2f}" for row in ranked.itertuples())
            + "."
        )
        everywhere = list(ranked["variant"])
        means = pd.DataFrame({name: paired[name].scores[everywhere].mean() for name in paired}).T
        p = friedman_p(means.to_numpy())
        if p is not None:
            lines.append(
                f"Friedman's test of equal ranks of all {len(everywhere)} variants: p = {format_p(p)} (chi-squared "
                f"approximation, rough for {len(means)} datasets)."
            )
    return lines


def limits(paired: Mapping[str, Paired], labels: Mapping[str, str], reference: str) -> list[str]:
    """What a comparison with ``reference`` cannot show, given how many datasets, cases, seeds and tests it has."""
    lines = []
    tests = sum(len(pair.scores.columns) - 1 for pair in paired.values())
    sizes = {dataset: len(pair.scores) for dataset, pair in paired.items()}
    datasets = len(paired)
    lowest = smallest_p(datasets)
    if datasets == 1:
        lines.append("One dataset: nothing can be concluded about other datasets.")
    elif lowest >= SIGNIFICANT:
        lines.append(
            f"With {datasets} datasets no test across datasets can give p below {lowest:.4g}, even if one variant wins "
            f"on all of them: no difference between averages can be significant at {SIGNIFICANT}, and an average rank "
            "is a description, not evidence."
        )
    else:
        lines.append(
            f"With {datasets} datasets the smallest p that a test across datasets can give is {lowest:.4g}, and only "
            "if one variant wins on all of them."
        )
    small = [dataset for dataset, cases in sizes.items() if smallest_p(cases) * tests >= SIGNIFICANT]
    if tests and small:
        lines.append(
            f"On {_and([f'{label(labels, name)} ({sizes[name]} cases)' for name in small])} no comparison can reach "
            f"p (Holm) below {SIGNIFICANT} by itself, whatever the scores: the smallest p is "
            f"{max(smallest_p(sizes[name]) for name in small):.2g}, times {tests} comparisons."
        )
    fewest = min(min(pair.seeds.values()) for pair in paired.values())
    if fewest == 1:
        lines.append(
            "With one seed the variation between trainings is unknown: a difference may come from one lucky "
            "initialisation, which neither the intervals nor the tests account for."
        )
    else:
        freedom = fewest - 1
        narrow, wide = (math.sqrt(freedom / chi2.ppf(q, freedom)) for q in (0.975, 0.025))
        half_width = t.ppf(0.975, freedom) / math.sqrt(fewest)
        lines.append(
            f"With {fewest} seeds the variation between trainings is poorly known: the true standard deviation lies "
            f"between {narrow:.2f} and {wide:.1f} times the observed one (95%), and a mean over seeds is known only to "
            f"within ±{half_width:.2f} of it. Averaging over seeds does not add this variation to the intervals or "
            "tests."
        )
    lines.append(
        "The tests and intervals account for the choice of test images from the same sources, given these trained "
        "weights. They say nothing about other hospitals or devices, and p (Holm) above "
        f"{SIGNIFICANT} does not show that a variant equals {label(labels, reference)}."
    )
    if "clinicdb" in paired:
        lines.append(
            f"{label(labels, 'clinicdb')}'s frames come from 29 videos that training and test share: its cases are not "
            "independent, so its intervals are too narrow and its p-values too small."
        )
    return lines
