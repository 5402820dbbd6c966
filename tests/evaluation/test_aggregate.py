"""Means over seeds and datasets, and reported numbers."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.evaluation.aggregate import Score, front, measured, reported, reported_parameters
from pipeline.evaluation.readers import read_reported

REPORTED = read_reported(Path(__file__).parents[2] / "workflow/resources/reported.csv")
DSC = pd.DataFrame(
    [
        *(("busi", "telescopic", 41 + index, value) for index, value in enumerate((0.60, 0.64, 0.68))),
        *(("isic16", "telescopic", 41 + index, value) for index, value in enumerate((0.90, 0.91, 0.92))),
        ("isic16", "telescopic", 44, 0.5),
        ("busi", "end_to_end", 41, 0.50),
    ],
    columns=["dataset", "variant", "seed", "dsc"],
)


def test_means_and_deviations_over_seeds():
    scores = measured(DSC, "telescopic", ["isic16", "busi"])
    assert scores["busi"][:3] == pytest.approx((64, 4, 3)) and scores["busi"].prompt_sd is None
    # The average within each seed that both datasets have: 75, 77.5, 80.
    assert scores["average"][:3] == pytest.approx((77.5, 2.5, 3))
    assert scores["isic16"].seeds == 4


def test_one_seed_has_no_deviation_and_a_missing_dataset_no_average():
    scores = measured(DSC, "end_to_end", ["isic16", "busi"])
    assert scores == {"busi": Score(50.0, None, 1), "isic16": None, "average": None}


def test_the_spread_over_prompts_is_averaged_over_seeds_and_datasets():
    spread = DSC.assign(prompt_sd=[0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.9, None])
    scores = measured(spread, "telescopic", ["isic16", "busi"])
    assert (scores["busi"].prompt_sd, scores["average"].prompt_sd) == pytest.approx((2, 3.5))
    assert scores["average"][:3] == measured(DSC, "telescopic", ["isic16", "busi"])["average"][:3]
    assert measured(spread, "end_to_end", ["busi"])["busi"].prompt_sd is None


def test_reported_takes_the_paper_first():
    assert reported(REPORTED, "telescopic", "busi") == (65.90, "paper")
    assert reported(REPORTED, "end_to_end", "average") == (83.33, "paper")
    assert reported(REPORTED, "end_to_end", "busi") == (62.91, "vlsm-adapter")
    assert reported(REPORTED, "end_to_end", "busi", "hd95") == (72.98, "vlsm-adapter")
    assert reported(REPORTED[REPORTED["source"] == "medvlsm"], "end_to_end", "busi") == (64.32, "medvlsm")
    assert reported(REPORTED, "uniform", "busi") is None


def test_reported_parameters_take_the_paper_first():
    assert reported_parameters(REPORTED, "vlsm_dense") == 3_200_000
    assert reported_parameters(REPORTED, "uniform") is None


def test_front_is_what_no_other_point_beats():
    points = [(0, 30), (613, 85), (613, 84), (1127, 82), (3237, 85), (150_000, 86)]
    assert front(points) == [(0, 30), (613, 85), (150_000, 86)]
    cloud = [tuple(point) for point in np.random.default_rng(1).integers(0, 20, (60, 2))]
    by_definition = {(x, y) for x, y in cloud if not any((a <= x and b >= y) and (a < x or b > y) for a, b in cloud)}
    assert set(front(cloud)) == by_definition
