"""Scores of a run: against plain code case by case, on several datasets, and under each prompt type."""

import numpy as np
import pandas as pd
import pytest
from evaluation_support import call
from scoring_support import SEED, SIZE, plain_probabilities, plain_scores

from pipeline.data.prompts import EVALUATION, draw_prompt
from pipeline.data.tensors import load_split
from pipeline.evaluation import score_run
from pipeline.evaluation.per_case import COLUMNS, read_per_case
from pipeline.models.segmenter import Segmenter


@pytest.fixture
def score(study, tmp_path):
    """Score the study's run on datasets; the rows of per_case.csv."""

    def of(*datasets, **options):
        keys = [options["by"]] if "by" in options else []
        tensors = tuple(study.results / "tensors" / dataset for dataset in datasets)
        call(score_run.main, tensors=tensors, output=tmp_path / "per_case.csv", **study.options, **options)
        return read_per_case(tmp_path, keys)

    return of


def test_scores_at_the_original_and_at_the_input_size(study, score):
    original, resized = score("busi", prompt_type="p1"), score("busi", prompt_type="p1", at_input_size=True)
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


def test_transfer_keeps_the_scores_by_case(score):
    table = score("bkai", "busi", by="test_dataset", prompt_type="p2")
    assert list(table["test_dataset"]) == ["bkai"] * 3 + ["busi"] * 5
    for name, rows in table.groupby("test_dataset"):
        expected = score(name, prompt_type="p2")
        pd.testing.assert_frame_equal(rows.drop(columns="test_dataset").reset_index(drop=True), expected)


def test_each_prompt_type_is_scored_as_if_it_were_the_only_one(study, score, monkeypatch, capsys):
    calls, states = [], Segmenter.vision_states
    with monkeypatch.context() as patch:
        patch.setattr(Segmenter, "vision_states", lambda self, x: calls.append(len(x)) or states(self, x))
        table = score("busi", by="prompt_type")
    assert calls == [2, 2, 1]  # each image once, whatever the number of prompt types
    assert list(table.columns) == ["prompt_type", *COLUMNS]
    assert list(table["prompt_type"]) == [name for name in ("p0", "p1", "p2", "random") for _ in range(5)]
    assert "left out, as some cases lack them: p7" in capsys.readouterr().err
    split = load_split(study.results / "tensors/busi", "test")
    for name, rows in table.groupby("prompt_type"):
        options = zip(split.cases["prompts"], split.cases["case"], strict=True)
        drawn = [draw_prompt(prompts, name, SEED, case, EVALUATION) for prompts, case in options]
        assert list(rows["prompt"]) == drawn
        own = score("busi", prompt_type=name)
        pd.testing.assert_frame_equal(rows.drop(columns="prompt_type").reset_index(drop=True), own, atol=2e-3)
    predicted = table.pivot(index="case", columns="prompt_type", values="predicted_pixels")
    # The masks are neither empty nor the same under all prompts, so a mix-up would show.
    assert (predicted["p1"] != predicted["p0"]).all() and predicted.to_numpy().min() > 0
    assert table[table["prompt_type"] == "p2"]["prompt"].nunique() > 1
