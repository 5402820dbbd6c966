"""Paired comparison of variants with a reference, by dataset and across datasets."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import friedmanchisquare, rankdata, wilcoxon

from pipeline.evaluation.bootstrap import interval, resampled_means
from pipeline.evaluation.pairing import Paired
from pipeline.runtime.errors import PipelineError

AVERAGE = "average"
COLUMNS = [
    "dataset",
    "variant",
    "reference",
    "cases",
    "seeds",
    "mean",
    "mean_low",
    "mean_high",
    "difference",
    "difference_low",
    "difference_high",
    "p",
    "p_holm",
    "rank_biserial",
    "cohens_dz",
    "average_rank",
]
# Differences are of means over seeds of 0..1 scores; what is smaller than this is rounding, not a difference.
DECIMALS = 12


class PairedTest(NamedTuple):
    """A Wilcoxon signed-rank test with effect sizes.

    Attributes:
        p: Two-sided p-value, 0..1; 1 where all differences are zero.
        rank_biserial: Matched-pairs rank-biserial correlation, -1..1 (Kerby 2014): the share of the rank sum that is
            positive less the share that is negative.
        cohens_dz: Mean difference over the standard deviation of the differences; NaN where that is zero or unknown.
    """

    p: float
    rank_biserial: float
    cohens_dz: float


def paired_test(differences: NDArray[np.float64]) -> PairedTest:
    """Test whether paired ``differences`` (pairs,), variant less reference, are centred on zero.

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


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values adjusted for their number by Holm's step-down method (Holm 1979), in the order given."""
    p_values = np.asarray(p_values, dtype=float)
    order = np.argsort(p_values, kind="stable")
    steps = np.maximum.accumulate((len(p_values) - np.arange(len(p_values))) * p_values[order])
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum(steps, 1.0)
    return adjusted.tolist()


def average_ranks(means: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean rank of each variant over datasets; the best has rank 1, ties share their mean rank (Demsar 2006).

    Args:
        means: (datasets, variants), higher is better.

    Returns:
        (variants,), 1..variants.
    """
    return rankdata(-np.round(means, DECIMALS), axis=1).mean(axis=0)


def friedman_p(means: NDArray[np.float64]) -> float | None:
    """P-value (chi-squared approximation) of Friedman's test that all variants (columns) rank alike on datasets (rows).

    None where the test says nothing: fewer than three variants or datasets, or no difference at all.
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

    Within a dataset the unit is the case: its score averaged over seeds, variant less reference. Intervals are
    percentile bootstrap over cases. Rows of the dataset ``average`` weigh datasets equally; their interval resamples
    cases within each dataset, their test, effect sizes and ranks have the dataset for a unit, and they are there for
    variants that were run on all datasets, if there are several. Holm's correction counts all comparisons of variants
    within datasets as one family, and those of the average as another.

    Args:
        paired: Per-case scores by dataset, 0..1 (:func:`pipeline.evaluation.pairing.pair_cases`).
        reference: The variant that the others are compared with.
        samples: Bootstrap resamples.

    Returns:
        One row a dataset and variant, :data:`COLUMNS`: means and differences in DSC points (0..100), differences
        positive where the variant is better than the reference; the reference's own rows have no difference.

    Raises:
        PipelineError: the reference was not run on one of the datasets.
    """
    _require(paired, reference)
    rows, draws = [], {}
    for dataset, (scores, seeds) in paired.items():
        resampled = resampled_means(scores.to_numpy() * 100, samples, dataset)
        draws[dataset] = pd.DataFrame(resampled, columns=scores.columns)
        for variant in scores:
            differences = None if variant == reference else (scores[variant] - scores[reference]).to_numpy()
            rows.append(
                {"dataset": dataset, "variant": variant, "cases": len(scores), "seeds": seeds[variant]}
                | _estimates(scores.mean() * 100, draws[dataset], variant, reference)
                | _tested(differences)
            )
    if len(paired) > 1:
        rows += _average_rows(paired, draws, reference)
    return _corrected(pd.DataFrame(rows, columns=COLUMNS).assign(reference=reference))


def significance(paired: Mapping[str, Paired], reference: str) -> pd.DataFrame:
    """The tests of :func:`compare` alone: dataset, variant, reference, p, p_holm; arguments and errors as there."""
    _require(paired, reference)
    rows = [
        {"dataset": dataset, "variant": variant} | _tested((scores[variant] - scores[reference]).to_numpy())
        for dataset, (scores, _) in paired.items()
        for variant in scores.columns.drop(reference)
    ]
    if len(paired) > 1:
        means = _means(paired)
        rows += [
            {"dataset": AVERAGE, "variant": variant} | _tested((means[variant] - means[reference]).to_numpy())
            for variant in means.columns.drop(reference)
        ]
    columns = ["dataset", "variant", "reference", "p", "p_holm"]
    return _corrected(pd.DataFrame(rows).assign(reference=reference, p_holm=math.nan))[columns]


def _require(paired: Mapping[str, Paired], reference: str) -> None:
    for dataset, (scores, _) in paired.items():
        if reference not in scores:
            raise PipelineError(
                f"{dataset}: the reference {reference!r} has no run, but {', '.join(scores)} have; "
                "add its runs or name another --reference"
            )


def _corrected(table: pd.DataFrame) -> pd.DataFrame:
    """``table`` with Holm's correction of its p: comparisons within datasets are one family, of averages another."""
    for across in (True, False):
        family = ((table["dataset"] == AVERAGE) == across) & table["p"].notna()
        table.loc[family, "p_holm"] = holm(table.loc[family, "p"].tolist())
    return table


def _means(paired: Mapping[str, Paired]) -> pd.DataFrame:
    """Mean score (0..1) by dataset of each variant that was run on all of them."""
    names = list(dict.fromkeys(variant for pair in paired.values() for variant in pair.scores))
    everywhere = [name for name in names if all(name in pair.scores for pair in paired.values())]
    return pd.DataFrame({dataset: pair.scores.mean() for dataset, pair in paired.items()}).T[everywhere]


def _average_rows(paired: Mapping[str, Paired], draws: Mapping[str, pd.DataFrame], reference: str) -> list[dict]:
    means = _means(paired)
    everywhere = list(means)
    average_draws = sum(draws[dataset][everywhere] for dataset in paired) / len(paired)
    ranks = dict(zip(everywhere, average_ranks(means.to_numpy()), strict=True))
    return [
        {
            "dataset": AVERAGE,
            "variant": variant,
            "cases": sum(len(pair.scores) for pair in paired.values()),
            "seeds": min(pair.seeds[variant] for pair in paired.values()),
            "average_rank": ranks[variant],
        }
        | _estimates(means.mean() * 100, average_draws, variant, reference)
        | _tested(None if variant == reference else (means[variant] - means[reference]).to_numpy())
        for variant in everywhere
    ]


def _estimates(means: pd.Series, draws: pd.DataFrame, variant: str, reference: str) -> dict[str, float]:
    low, high = interval(draws[variant].to_numpy())
    result = {"mean": means[variant], "mean_low": low, "mean_high": high}
    if variant != reference:
        low, high = interval((draws[variant] - draws[reference]).to_numpy())
        result |= {
            "difference": means[variant] - means[reference],
            "difference_low": low,
            "difference_high": high,
        }
    return result


def _tested(differences: NDArray[np.float64] | None) -> dict[str, float]:
    return {} if differences is None else paired_test(differences)._asdict()
