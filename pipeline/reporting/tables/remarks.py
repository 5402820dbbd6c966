"""Footnotes of the comparison table: how its numbers were computed, and what they cannot show."""

import math
from collections.abc import Mapping

import pandas as pd
from scipy.stats import chi2

from pipeline.evaluation.readers import AVERAGE
from pipeline.reporting.options import label
from pipeline.reporting.outcomes import RULE, SEEDS_NOTE


def explanation(table: pd.DataFrame, labels: Mapping[str, str], samples: int) -> list[str]:
    """How the numbers of ``table`` (tables/comparison.csv) were computed; ``samples``: bootstrap resamples."""
    averages = int((table["dataset"] == AVERAGE).sum())
    family = f"the {len(table) - averages} comparisons within datasets"
    family += f", and apart for the {averages} of the average" if averages else ""
    return [
        f"The unit is the training. Difference: variant minus {label(labels, table['reference'].iloc[0])} in the test "
        "set's mean DSC, paired by the seeds that both have, averaged over them; interval and p: Student's t. Average: "
        "the mean of the datasets' differences, Satterthwaite's degrees of freedom. SD: of the difference between two "
        "single trainings.",
        f"p (eq.): two one-sided tests of a difference of {table['margin'].iloc[0]:g} points or more. Both p are "
        f"corrected by Holm's method for {family}. Outcome at 5%: {RULE.format(margin=table['margin'].iloc[0])}.",
        SEEDS_NOTE,
        "Mixed model: DSC ~ variant + (1 | case) + (1 | seed of a variant) within each dataset, one SD over seeds for "
        "all variants, not corrected. These weights: bootstrap over test cases of the trained runs as they are, "
        f"{samples} resamples; it shows what other images of the same source would change, says nothing about training "
        "again, and decides nothing.",
    ]


def limits(table: pd.DataFrame, labels: Mapping[str, str]) -> list[str]:
    """What ``table`` (tables/comparison.csv) cannot show, given its datasets and seeds."""
    lines = []
    datasets = [dataset for dataset in dict.fromkeys(table["dataset"]) if dataset != AVERAGE]
    if len(datasets) == 1:
        lines.append("One dataset: nothing can be concluded about other datasets.")
    fewest = int(table["seeds"].min())
    if fewest == 1:
        lines.append("With one seed the variation between trainings is unknown, and nothing is resolved.")
    else:
        narrow, wide = (math.sqrt((fewest - 1) / chi2.ppf(q, fewest - 1)) for q in (0.975, 0.025))
        lines.append(
            f"With {fewest} seeds the variation between trainings is poorly known: its true SD lies between "
            f"{narrow:.2f} and {wide:.1f} times the measured one (95%), and the seeds needed are as uncertain."
        )
    lines.append(
        "The test sets and their prompts are taken as they are: nothing is shown about other hospitals, devices or "
        "datasets. Not resolved does not mean equal."
    )
    if "clinicdb" in datasets:
        lines.append(
            f"{label(labels, 'clinicdb')}'s frames come from 29 videos that training and test share: its interval over "
            "cases is too narrow."
        )
    return lines
