"""Scores of a run: against plain code case by case, under each prompt type, and on several datasets."""

import shutil

import numpy as np
import pandas as pd
import pytest
from evaluation_support import call
from model_support import trained_start
from scoring_support import plain_probabilities, plain_scores

from pipeline.data.tensors import load_split
from pipeline.evaluation import score_run
from pipeline.evaluation.per_case import COLUMNS, SCORED, read_per_case, read_per_prompt
from pipeline.models.backbone import load_backbone
from pipeline.models.interface import ImageModel
from pipeline.models.segmenter import Segmenter
from pipeline.models.weights import save_weights
from pipeline.runtime.errors import PipelineError


@pytest.fixture
def score(study, tmp_path):
    """Score the study's run on datasets; the rows of per_case.csv."""

    def of(*datasets, results=study.results, **options):
        keys = [options["by"]] if "by" in options else []
        tensors = tuple(results / "tensors" / dataset for dataset in datasets)
        call(score_run.main, tensors=tensors, output=tmp_path / "per_case.csv", **study.options, **options)
        return read_per_case(tmp_path, keys)

    return of


def test_scores_at_the_original_and_at_the_input_size(study, score):
    table = score("busi", prompt_type="p1")
    split = load_split(study.results / "tensors/busi", "test")
    for index, probability in enumerate(plain_probabilities(study.results, split.images, ["polyp"] * 5)):
        row = table.iloc[index]
        assert (row["case"], row["prompt"]) == (f"{index:03}", "polyp")
        expected = plain_scores(probability, split.target(index), study.threshold)
        assert (row["dsc"], row["target_pixels"], row["predicted_pixels"]) == pytest.approx(expected, abs=2e-3)
        resized, *_ = plain_scores(probability, split.masks[index] > 0, study.threshold)
        assert row["dsc_input_size"] == pytest.approx(resized, abs=2e-3)
    assert (table["dsc"] != table["dsc_input_size"])[:4].all()
    # Only of the second case the reference sees another mask.
    assert (table["dsc_corrected"] == table["dsc"]).all()
    assert (table["dsc_reference"] != table["dsc"]).tolist() == [False, True, False, False, False]
    other = score("busi", prompt_type="p1", masks="reference")
    assert (other["dsc"] == table["dsc_reference"]).all() and (other["dsc_corrected"] == table["dsc"]).all()
    assert (other["target_pixels"] > table["target_pixels"]).tolist() == [False, True, False, False, False]
    # A false alarm's HD95 is the diagonal of the image.
    assert table["hd95"][4] == pytest.approx(np.hypot(70 + 20, 90 - 16))
    assert table["dsc_prompt_sd"].isna().all()


def test_transfer_keeps_the_scores_by_case(score):
    table = score("bkai", "busi", by="test_dataset")
    assert list(table["test_dataset"]) == ["bkai"] * 3 + ["busi"] * 5
    for name, rows in table.groupby("test_dataset"):
        expected = score(name)
        pd.testing.assert_frame_equal(rows.drop(columns="test_dataset").reset_index(drop=True), expected)


def test_each_prompt_type_is_scored_as_if_it_were_the_only_one(study, score, monkeypatch, capsys, tmp_path):
    calls, states = [], Segmenter.vision_states
    with monkeypatch.context() as patch:
        patch.setattr(Segmenter, "vision_states", lambda self, x: calls.append(len(x)) or states(self, x))
        cases = score("busi", per_prompt=tmp_path / "per_prompt.csv")
    assert calls == [2, 2, 1]  # each image once, whatever the number of prompt types
    table = read_per_prompt(tmp_path)
    assert list(table.columns) == ["prompt_type", *SCORED]
    assert list(table["prompt_type"]) == [name for name in ("p0", "p1", "p2") for _ in range(5)]
    assert "left out, as some cases lack them: p7" in capsys.readouterr().err
    for name, rows in table.groupby("prompt_type"):
        own = score("busi", prompt_type=name)
        assert list(own["prompt"]) == list(rows["prompt"])
        assert own["dsc"].tolist() == pytest.approx(rows["dsc"].tolist(), abs=2e-3)
        assert own["hd95"].tolist() == pytest.approx(rows["hd95"].tolist(), abs=1.5)
    predicted = table.pivot(index="case", columns="prompt_type", values="predicted_pixels")
    # The masks are neither empty nor the same under all prompts, so a mix-up would show.
    assert (predicted["p1"] != predicted["p0"]).all() and predicted.to_numpy().min() > 0
    # The run's own scores are means over the types with words.
    by_case = table[table["prompt_type"] != "p0"].groupby("case")
    assert list(cases.columns) == list(COLUMNS)
    for column in ("dsc", "iou", "hd95", "predicted_pixels"):
        assert cases[column].tolist() == pytest.approx(by_case[column].mean().tolist())
    assert cases["dsc_prompt_sd"].tolist() == pytest.approx(by_case["dsc"].std().tolist())


def test_wordings_are_drawn_by_case_and_not_by_order(study):
    split = load_split(study.results / "tensors/busi", "test")
    drawn = dict(zip(split.cases["case"], score_run.evaluation_prompts(split, "p2"), strict=True))
    assert len(set(drawn.values())) > 1
    split.cases = split.cases[::-1]
    assert dict(zip(split.cases["case"], score_run.evaluation_prompts(split, "p2"), strict=True)) == drawn


def test_the_same_prediction_is_scored_once(study, monkeypatch):
    split, calls = load_split(study.results / "tensors/busi", "test"), []
    whole, none = np.ones((2, *split.masks.shape[1:]), bool) & np.array([True, False])[:, None, None]
    compare = score_run.Target.compare
    monkeypatch.setattr(score_run.Target, "compare", lambda self, mask: calls.append(mask) or compare(self, mask))
    rows = score_run.score_case(split, 0, [whole, none, whole.copy()], "corrected")
    assert len(calls) == 2
    assert rows[0] == rows[2] and rows[0]["dsc"] > 0 == rows[1]["dsc"]


def test_cases_that_share_no_prompt_type(study, score, tmp_path):
    results = shutil.copytree(study.results, tmp_path / "results")
    path = results / "tensors/busi/cases.csv"
    first, *others = path.read_text().splitlines(keepends=True)
    path.write_text(first + "".join(row.replace('""p', f'""q{at}') for at, row in enumerate(others)))
    with pytest.raises(PipelineError, match="the test cases share no prompt type but p0, of q0"):
        score("busi", results=results)


def test_a_model_that_reads_no_prompt_is_scored_once_an_image(study, tmp_path, monkeypatch):
    variant = {"kind": "unet", "channels": [4, 4, 4, 4, 4]}
    model = trained_start(variant, load_backbone(study.options["backbone"]))
    save_weights(tmp_path / "weights.safetensors", model, variant, {})
    options = study.options | {"weights": tmp_path / "weights.safetensors", "per_prompt": tmp_path / "per_prompt.csv"}
    calls, forward = [], ImageModel.vision_states
    monkeypatch.setattr(ImageModel, "vision_states", lambda self, x: calls.append(len(x)) or forward(self, x))
    call(score_run.main, tensors=study.results / "tensors/busi", output=tmp_path / "per_case.csv", **options)
    assert calls == [2, 2, 1]
    table = read_per_prompt(tmp_path).pivot(index="case", columns="prompt_type", values="predicted_pixels")
    assert (table["p1"] == table["p0"]).all() and (table["p2"] == table["p0"]).all() and table["p0"].max() > 0
    assert (read_per_case(tmp_path)["dsc_prompt_sd"] == 0).all()
