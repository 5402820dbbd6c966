"""What other test cases would change: bootstrap intervals over cases of the differences between trained runs.

They are about the runs' very weights; :mod:`pipeline.evaluation.methods` compares methods. Percentile bootstrap: Efron
and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13.
"""

import zlib

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.evaluation.readers import AVERAGE

LEVEL = 0.95


def resampled_means(scores: NDArray[np.float64], samples: int, name: str) -> NDArray[np.float64]:
    """Means over cases drawn with replacement, the same cases for each variant.

    Args:
        scores: (cases, variants), finite.
        samples: Number of resamples.
        name: What the scores belong to, e.g. the dataset. The draws depend on it and on nothing else: they are the
            same in each process, and independent between datasets (with one seed for all, datasets of one size would
            share their draws, and the interval of their average would be too wide).

    Returns:
        (samples, variants). A paired difference's interval comes from two columns.
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


def case_intervals(scores: pd.DataFrame, reference: str, samples: int) -> pd.DataFrame:
    """Intervals of the difference of each variant to ``reference``, by dataset and averaged over datasets.

    A case counts with its mean over the variant's seeds. Cases are resampled within each dataset, the same ones for all
    variants. The average weighs datasets equally; it is there for variants that were run on all datasets, if there is
    more than one.

    Args:
        scores: Columns dataset, variant, seed, case, dsc (0..1); the runs on a dataset have the same cases.
        reference: A variant that was run on each of the datasets.
        samples: Bootstrap resamples.

    Returns:
        Columns dataset, variant, cases_low, cases_high (DSC points).
    """
    draws = {}
    for dataset, rows in scores.groupby("dataset", sort=False):
        table = rows.pivot_table(index="case", columns=["variant", "seed"], values="dsc", aggfunc="mean")
        means = table.T.groupby(level="variant").mean().T
        drawn = pd.DataFrame(resampled_means(100 * means.to_numpy(), samples, dataset), columns=means.columns)
        draws[dataset] = drawn.sub(drawn[reference], axis=0).drop(columns=reference)
    if len(draws) > 1:
        everywhere = set.intersection(*(set(gaps) for gaps in draws.values()))
        draws[AVERAGE] = sum(gaps[sorted(everywhere)] for gaps in draws.values()) / len(draws)
    tables = []
    for dataset, gaps in draws.items():
        low, high = interval(gaps.to_numpy())
        ends = {"dataset": dataset, "variant": gaps.columns, "cases_low": low, "cases_high": high}
        tables.append(pd.DataFrame(ends))
    return pd.concat(tables, ignore_index=True)
