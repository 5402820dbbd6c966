"""Scores of a run under each prompt type, against plain code case by case."""

import pandas as pd
import pytest
from evaluation_support import call
from scoring_support import SEED, plain_probabilities, plain_scores

from pipeline.data.prompts import EVALUATION, draw_prompt
from pipeline.data.tensors import load_split
from pipeline.evaluation import score_prompts, score_run
from pipeline.evaluation.per_case import COLUMNS, read_per_case
from pipeline.models.segmenter import Segmenter


def test_each_prompt_type_is_scored_as_if_it_were_the_only_one(study, tmp_path, monkeypatch, capsys):
    calls, states = [], Segmenter.vision_states
    tensors = study.results / "tensors/busi"
    with monkeypatch.context() as patch:
        patch.setattr(Segmenter, "vision_states", lambda self, x: calls.append(len(x)) or states(self, x))
        call(patch, score_prompts.main, "--tensors", tensors, *study.options, "--output", tmp_path / "per_case.csv")
    assert calls == [2, 2, 1]  # each image once, whatever the number of prompt types
    table = read_per_case(tmp_path, ["prompt_type"])
    assert list(table.columns) == ["prompt_type", *COLUMNS]
    split = load_split(tensors, "test")
    assert list(table["prompt_type"]) == [name for name in ("p0", "p1", "p2", "random") for _ in range(5)]
    assert "left out, as some cases lack them: p7" in capsys.readouterr().err
    for name, rows in table.groupby("prompt_type"):
        assert list(rows["case"]) == list(split.cases["case"])
        probabilities = plain_probabilities(study.results, split.images, rows["prompt"])
        for index, (row, probability) in enumerate(zip(rows.itertuples(), probabilities, strict=True)):
            options = split.cases["prompts"].iloc[index]
            assert row.prompt == draw_prompt(options, name, SEED, row.case, EVALUATION)
            expected = plain_scores(probability, split.target(index), study.threshold)
            assert (row.dsc, row.target_pixels, row.predicted_pixels) == pytest.approx(expected, abs=2e-3)
    predicted = table.pivot(index="case", columns="prompt_type", values="predicted_pixels")
    # The masks are neither empty nor the same under all prompts, so a mix-up would show.
    assert (predicted["p1"] != predicted["p0"]).all() and predicted.to_numpy().min() > 0
    assert table[table["prompt_type"] == "p2"]["prompt"].nunique() > 1


def test_random_prompts_give_the_scores_of_the_run(study, tmp_path, monkeypatch):
    common = ["--tensors", study.results / "tensors/busi", *study.options]
    call(monkeypatch, score_run.main, *common, "--output", tmp_path / "run/per_case.csv")
    call(monkeypatch, score_prompts.main, *common, "--output", tmp_path / "types/per_case.csv")
    own, types = read_per_case(tmp_path / "run"), read_per_case(tmp_path / "types", ["prompt_type"])
    drawn = types[types["prompt_type"] == "random"].drop(columns="prompt_type").reset_index(drop=True)
    pd.testing.assert_frame_equal(drawn, own, atol=1e-3)
