"""Intervals of the ablation figures: those of the table of comparisons."""

import numpy as np
import pandas as pd
import pytest
from evaluation_support import write_run

from pipeline.evaluation.intervals import summarise_family
from pipeline.evaluation.pairing import pair_cases
from pipeline.evaluation.readers import AVERAGE, read_cases
from pipeline.evaluation.statistics import compare

VARIANTS = ["lora", "telescopic", "uniform"]
SAMPLES = 400


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two datasets of one size, cases in another order in each run, and a variant with fewer seeds."""
    generator = np.random.default_rng(8)
    names = [f"case{index:02}" for index in range(30)]
    folder, result = tmp_path_factory.mktemp("intervals"), []
    # Not the order of the datasets in figures: draws must not depend on the order.
    for dataset in ("bkai", "kvasir_seg"):
        base = pd.Series(generator.uniform(0.4, 0.8, 30), names)
        for variant in VARIANTS:
            for seed in (41, 42) if variant != "lora" else (41,):
                scores = (base + generator.normal(0, 0.05, 30)).clip(0, 1).sample(frac=1, random_state=seed)
                result.append(write_run(folder, dataset, variant, seed, scores, cases=list(scores.index)))
    return result


def test_figures_and_the_comparison_table_have_the_same_intervals(runs):
    figure = summarise_family(read_cases(runs), VARIANTS, "telescopic", SAMPLES)
    table = compare(pair_cases(runs), "telescopic", SAMPLES)
    figure = figure.set_index(["dataset", "variant"]).sort_index() * 100
    table = table.set_index(["dataset", "variant"]).sort_index()
    assert list(figure.index) == list(table.index)
    for ours, theirs in (("mean", "mean"), ("low", "mean_low"), ("high", "mean_high")):
        np.testing.assert_allclose(figure[ours], table[theirs], rtol=1e-12)
    others = figure.index.get_level_values("variant") != "telescopic"
    for name in ("difference", "difference_low", "difference_high"):
        np.testing.assert_allclose(figure.loc[others, name], table.loc[others, name], rtol=1e-9)
        assert (figure.loc[~others, name] == 0).all()


def test_datasets_are_resampled_independently(runs):
    # Two datasets with the same scores: the average of two independent means has 1 / sqrt(2) of their spread, while
    # shared draws would leave it as it is.
    cases = read_cases([run for run in runs if run.dataset == "bkai"])
    twins = pd.concat([cases, cases.assign(dataset="kvasir_seg")])
    result = summarise_family(twins, VARIANTS, "telescopic", 4000)
    result = result[result["variant"] == "telescopic"].set_index("dataset")
    width = result["high"] - result["low"]
    assert width[AVERAGE] / width["bkai"] == pytest.approx(np.sqrt(0.5), rel=0.05)
    assert width["kvasir_seg"] == pytest.approx(width["bkai"], rel=0.05)
