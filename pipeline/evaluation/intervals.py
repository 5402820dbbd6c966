"""Mean DSC of variants and its difference to a reference, with bootstrap intervals over test cases.

Percentile bootstrap: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13.
"""

import zlib
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.evaluation.pairing import Paired, pair_scores
from pipeline.evaluation.readers import AVERAGE
from pipeline.runtime.errors import PipelineError

LEVEL = 0.95
SAMPLES = 10_000


def resampled_means(scores: NDArray[np.float64], samples: int, name: str) -> NDArray[np.float64]:
    """Means over cases drawn with replacement, the same cases for each variant.

    Args:
        scores: (cases, variants), finite.
        samples: Number of resamples.
        name: What the scores belong to, e.g. the dataset. The draws depend on it and on nothing else: they are the
            same in each process, and independent between datasets (with one seed for all, datasets of one size would
            share their draws, and the interval of their average would be too wide).

    Returns:
        (samples, variants). A variant's interval comes from its column, a paired difference's from two columns.
    """
    cases = len(scores)
    generator = np.random.default_rng(zlib.crc32(name.encode()))
    # Counts of each case carry the same information as the drawn indices, and turn all means into one matrix product.
    counts = generator.multinomial(cases, np.full(cases, 1 / cases), size=samples)
    return counts @ scores / cases


def interval(draws: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Lower and upper end of the 95% interval along the first axis of ``draws``."""
    low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return low, high


def dataset_means(paired: Mapping[str, Paired]) -> pd.DataFrame:
    """Mean DSC (0..1), one row per dataset and one column per variant that was run on all of them."""
    return pd.concat([pair.scores.mean() for pair in paired.values()], axis=1, join="inner", keys=paired).T


def estimate(paired: Mapping[str, Paired], reference: str | None, samples: int) -> pd.DataFrame:
    """Mean DSC and paired difference to ``reference`` of each variant, by dataset and averaged over datasets.

    Cases are resampled within each dataset, the same cases for all variants. The average weighs datasets equally; it
    is there for variants that were run on all datasets, if there is more than one.

    Args:
        paired: Per-case scores by dataset (:func:`pipeline.evaluation.pairing.pair_cases`).
        reference: A variant; differences are NaN on datasets where it has no run, and everywhere if it is None.
        samples: Bootstrap resamples.

    Returns:
        Columns dataset, variant, mean, low, high, difference, difference_low, difference_high (DSC in 0..1); datasets
        and variants in the order of ``paired``, the dataset ``average`` last.
    """
    means = {dataset: pair.scores.mean() for dataset, pair in paired.items()}
    draws = {
        dataset: pd.DataFrame(resampled_means(pair.scores.to_numpy(), samples, dataset), columns=pair.scores.columns)
        for dataset, pair in paired.items()
    }
    if len(paired) > 1:
        means[AVERAGE] = dataset_means(paired).mean()
        draws[AVERAGE] = sum(draw[means[AVERAGE].index] for draw in draws.values()) / len(paired)
    tables = []
    for dataset, mean in means.items():
        table = pd.DataFrame({"dataset": dataset, "variant": mean.index, "mean": mean.to_numpy()})
        table["low"], table["high"] = interval(draws[dataset].to_numpy())
        if reference in mean.index:
            table["difference"] = table["mean"] - mean[reference]
            gaps = draws[dataset].sub(draws[dataset][reference], axis=0)
            table["difference_low"], table["difference_high"] = interval(gaps.to_numpy())
        tables.append(table)
    gaps = ["difference", "difference_low", "difference_high"]
    return pd.concat(tables, ignore_index=True).reindex(columns=["dataset", "variant", "mean", "low", "high", *gaps])


def summarise_family(
    cases: pd.DataFrame, variants: Sequence[str], reference: str, samples: int = SAMPLES
) -> pd.DataFrame:
    """:func:`estimate` for a family of variants: one row per dataset and variant, NaN where a variant has no run.

    Args:
        cases: Columns dataset, variant, seed, case, dsc (0..1); at least one row of ``variants``, others are left out.
        variants: Order of the result.
        reference: One of ``variants``.
        samples: Bootstrap resamples.

    Raises:
        PipelineError: a run lacks a case that others have, or ``reference`` is not among ``variants``.
    """
    if reference not in variants:
        raise PipelineError(f"--reference: {reference!r} is not among the variants ({', '.join(variants)})")
    cases = cases[cases["variant"].isin(variants)]
    table = estimate(pair_scores(cases), reference, samples).set_index(["dataset", "variant"])
    datasets = table.index.unique("dataset")
    return table.reindex(pd.MultiIndex.from_product([datasets, variants], names=table.index.names)).reset_index()
