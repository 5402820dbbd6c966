"""Scores of a run at the original and at the input size, against plain code case by case."""

import numpy as np
import pytest
from evaluation_support import call
from scoring_support import SIZE, plain_probabilities, plain_scores

from pipeline.data.tensors import load_split
from pipeline.evaluation import score_run
from pipeline.evaluation.per_case import read_per_case


def test_scores_at_the_original_and_at_the_input_size(study, tmp_path, monkeypatch):
    common = ["--tensors", study.results / "tensors/busi", "--prompt-type", "p1", *study.options]
    call(monkeypatch, score_run.main, *common, "--output", tmp_path / "original/per_case.csv")
    call(monkeypatch, score_run.main, *common, "--at-input-size", "--output", tmp_path / "input/per_case.csv")
    original, resized = read_per_case(tmp_path / "original"), read_per_case(tmp_path / "input")
    split = load_split(study.results / "tensors/busi", "test")
    for index, probability in enumerate(plain_probabilities(study.results, split.images, ["polyp"] * 5)):
        for table, target in ((original, split.target(index)), (resized, split.masks[index] > 0)):
            row = table.iloc[index]
            assert (row["case"], row["prompt"]) == (f"{index:03}", "polyp")
            expected = plain_scores(probability, target, study.threshold)
            assert (row["dsc"], row["target_pixels"], row["predicted_pixels"]) == pytest.approx(expected, abs=2e-3)
    assert (original["dsc"] != resized["dsc"])[:4].all()
    # A false alarm's HD95 is the diagonal of the image that is scored.
    assert resized["hd95"][4] == pytest.approx(SIZE * 2**0.5)
    assert original["hd95"][4] == pytest.approx(np.hypot(70 + 20, 90 - 16))
