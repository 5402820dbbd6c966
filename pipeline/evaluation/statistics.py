"""Paired comparison of variants with a reference, by dataset and across datasets."""

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import friedmanchisquare, rankdata, wilcoxon

from pipeline.evaluation.intervals import dataset_means, estimate
from pipeline.evaluation.methods import holm
from pipeline.evaluation.pairing import Paired
from pipeline.evaluation.readers import AVERAGE
from pipeline.runtime.errors import PipelineError

MEANS = ["mean", "mean_low", "mean_high"]
DIFFERENCES = ["difference", "difference_low", "difference_high"]
TESTS = ["p", "p_holm", "rank_biserial", "cohens_dz"]
COLUMNS = ["dataset", "variant", "reference", "cases", "seeds", *MEANS, *DIFFERENCES, *TESTS, "average_rank"]
# Differences are of means over seeds of 0..1 scores; anything smaller is rounding error.
DECIMALS = 12


class PairedTest(NamedTuple):
    """A Wilcoxon signed-rank test with effect sizes.

    Attributes:
        p: Two-sided p-value, 0..1; 1 where all differences are zero.
        rank_biserial: Matched-pairs rank-biserial correlation, -1..1 (Kerby 2014): the share of the rank sum that is
            positive minus the share that is negative.
        cohens_dz: Mean difference over the standard deviation of the differences; NaN where that is zero or unknown.
    """

    p: float
    rank_biserial: float
    cohens_dz: float


def paired_test(differences: NDArray[np.float64]) -> PairedTest:
    """Test whether paired ``differences`` (pairs,), variant minus reference, are centred on zero.

    Zero differences are left out of the ranks (Wilcoxon 1945). The p-value is exact where scipy has an exact one, else
    from the normal approximation.
    """
    differences = np.round(differences, DECIMALS)
    deviation = differences.std(ddof=1) if len(differences) > 1 else 0.0
    cohens_dz = float(differences.mean() / deviation) if deviation > 0 else float("nan")
    nonzero = differences[differences != 0]
    if not len(nonzero):
        return PairedTest(1.0, 0.0, cohens_dz)
    ranks = rankdata(np.abs(nonzero))
    rank_biserial = float(np.sum(ranks * np.sign(nonzero)) / np.sum(ranks))
    return PairedTest(float(wilcoxon(nonzero).pvalue), rank_biserial, cohens_dz)


def average_ranks(means: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean rank of each variant over datasets; the best has rank 1, ties share their mean rank (Demsar 2006).

    Args:
        means: (datasets, variants), higher is better.

    Returns:
        (variants,), 1..variants.
    """
    return rankdata(-np.round(means, DECIMALS), axis=1).mean(axis=0)


def friedman_p(means: NDArray[np.float64]) -> float | None:
    """P-value (chi-squared approximation) of Friedman's test that variants (columns) rank alike on all datasets (rows).

    None where the test is undefined: fewer than three variants or datasets, or no difference at all.
    """
    means = np.round(means, DECIMALS)
    if min(means.shape) < 3 or (means == means[:, :1]).all():
        return None
    return float(friedmanchisquare(*means.T).pvalue)


def smallest_p(pairs: int) -> float:
    """The smallest two-sided p-value of a signed-rank test of ``pairs`` pairs, when all differences have one sign."""
    return min(1.0, 2.0 ** (1 - pairs))


def compare(paired: Mapping[str, Paired], reference: str, samples: int) -> pd.DataFrame:
    """Compare each variant with ``reference``.

    Within a dataset the unit is the case: its score averaged over seeds, variant minus reference. Intervals are
    percentile bootstrap over cases (:func:`pipeline.evaluation.intervals.estimate`). In rows of the dataset
    ``average`` the tests, effect sizes and ranks take the dataset as their unit; these rows are there for variants
    that were run on all datasets, if there is more than one. Holm's correction counts all comparisons of variants
    within datasets as one family, and those of the average as another.

    Args:
        paired: Per-case scores by dataset, 0..1 (:func:`pipeline.evaluation.pairing.pair_cases`).
        reference: The variant that the others are compared with.
        samples: Bootstrap resamples.

    Returns:
        One row per dataset and variant, :data:`COLUMNS`: means and differences in DSC points (0..100), differences
        positive where the variant is better than the reference; the reference's own rows have no difference.

    Raises:
        PipelineError: the reference was not run on one of the datasets.
    """
    tests, units = significance(paired, reference), _units(paired)
    table = estimate(paired, reference, samples).rename(columns={"low": "mean_low", "high": "mean_high"})
    table[[*MEANS, *DIFFERENCES]] *= 100
    table.loc[table["variant"] == reference, DIFFERENCES] = math.nan
    sizes = {dataset: len(pair.scores) for dataset, pair in paired.items()}
    table["cases"] = table["dataset"].map(sizes | {AVERAGE: sum(sizes.values())})
    table["seeds"] = [units[row.dataset].seeds[row.variant] for row in table.itertuples()]
    if AVERAGE in units:
        table.loc[table["dataset"] == AVERAGE, "average_rank"] = average_ranks(units[AVERAGE].scores.to_numpy())
    table = table.merge(tests, on=["dataset", "variant"], how="left")
    return table.assign(reference=reference).reindex(columns=COLUMNS)


def _units(paired: Mapping[str, Paired]) -> dict[str, Paired]:
    """``paired``, and under ``average`` the means of the datasets in place of cases if there are several."""
    if len(paired) == 1:
        return dict(paired)
    means = dataset_means(paired)
    seeds = {variant: min(pair.seeds[variant] for pair in paired.values()) for variant in means}
    return {**paired, AVERAGE: Paired(means, seeds)}


def significance(paired: Mapping[str, Paired], reference: str) -> pd.DataFrame:
    """The tests of :func:`compare`, one row per comparison: dataset, variant, p, rank_biserial, cohens_dz, p_holm.

    Arguments and errors are those of :func:`compare`.
    """
    for dataset, (scores, _) in paired.items():
        if reference not in scores:
            raise PipelineError(
                f"{dataset}: the reference {reference!r} has no run, but {', '.join(scores)} have; "
                "add its runs or name another --reference"
            )
    rows = [
        (dataset, variant, *paired_test((scores[variant] - scores[reference]).to_numpy()))
        for dataset, (scores, _) in _units(paired).items()
        for variant in scores.columns.drop(reference)
    ]
    table = pd.DataFrame(rows, columns=["dataset", "variant", *PairedTest._fields])
    return table.assign(p_holm=table.groupby(table["dataset"] == AVERAGE)["p"].transform(holm))
