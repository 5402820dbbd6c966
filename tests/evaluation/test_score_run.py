"""Scores of a run: against plain code case by case, under each prompt type, and on several datasets."""

import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from evaluation_support import call
from model_support import trained_start
from scoring_support import plain_probabilities, plain_scores

from pipeline.data.tensors import load_split
from pipeline.evaluation import score_run
from pipeline.evaluation.calibration import THRESHOLDS, best_threshold, bin_sums, calibration_error, read_bin_sums
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
    whole, none = np.ones((2, *split.masks.shape[1:]), np.float32) * np.float32([[[0.9]], [[0.1]]])
    compare = score_run.Target.compare
    monkeypatch.setattr(score_run.Target, "compare", lambda self, mask: calls.append(mask) or compare(self, mask))
    scoring = score_run.Scoring(0.5, [0, 2], tuned=0.7)
    rows, _ = score_run.score_case(split, 0, [whole, none, whole.copy()], "corrected", scoring)
    assert len(calls) == 2
    assert rows[0] == rows[2] and rows[0]["dsc"] > 0 == rows[1]["dsc"]


def test_ensemble_calibration_and_another_threshold_against_plain_code(study, score, tmp_path):
    results = shutil.copytree(study.results, tmp_path / "results")
    path = results / "tensors/busi/cases.csv"
    # The first two cases become validation cases.
    head, *rows = path.read_text().splitlines(keepends=True)
    path.write_text(head + "".join(row.replace(",test,", ",val,") if at < 2 else row for at, row in enumerate(rows)))
    files = {name: tmp_path / f"{name}.csv" for name in ("per_prompt", "calibration", "thresholds")}
    table, tensors = score("busi", results=results, **files), results / "tensors/busi"
    validation, split = load_split(tensors, "val"), load_split(tensors, "test")

    def maps(part, prompt_type):
        prompts = score_run.evaluation_prompts(part, prompt_type)
        return [found.numpy() for found in plain_probabilities(study.results, part.images, prompts)]

    pairs = list(zip(maps(validation, "random"), validation.masks > 0, strict=True))
    dsc = [np.mean([plain_scores(torch.from_numpy(p), m, t)[0] for p, m in pairs]) for t in THRESHOLDS]
    swept = pd.read_csv(files["thresholds"])
    assert swept["val_dsc"].tolist() == pytest.approx(dsc, abs=5e-3) and swept["val_dsc"].nunique() > 1
    tuned, by_type = best_threshold(swept), [maps(split, name) for name in ("p1", "p2")]
    for index, (one, other) in enumerate(zip(*by_type, strict=True)):
        target, row, mean = split.target(index), table.iloc[index], torch.from_numpy((one + other) / 2)
        assert row["dsc_prompt_ensemble"] == pytest.approx(plain_scores(mean, target, study.threshold)[0], abs=2e-3)
        at_tuned = [plain_scores(torch.from_numpy(found), target, tuned)[0] for found in (one, other)]
        assert row["dsc_tuned_threshold"] == pytest.approx(np.mean(at_tuned), abs=2e-3)
        errors = [calibration_error(bin_sums(found, split.masks[index] > 0)) for found in (one, other)]
        assert row["ece"] == pytest.approx(np.mean(errors), abs=1e-4)
    # Pooled over the prompt types that count.
    pooled = zip([*by_type[0], *by_type[1]], [*split.masks] * 2, strict=True)
    sums = sum(bin_sums(found, mask > 0) for found, mask in pooled)
    np.testing.assert_allclose(read_bin_sums(tmp_path)[0], sums[0], atol=20)
    assert read_bin_sums(tmp_path)[0].sum() == 2 * split.masks.size
    without = score("busi", results=results)
    assert without["dsc_tuned_threshold"].isna().all()
    pd.testing.assert_frame_equal(without.assign(dsc_tuned_threshold=table["dsc_tuned_threshold"]), table)


def test_maps_are_averaged_with_the_mirror_images(study, score):
    table, split = score("busi", prompt_type="p2", mirror=True), load_split(study.results / "tensors/busi", "test")
    prompts = score_run.evaluation_prompts(split, "p2")
    assert any("left" in prompt for prompt in prompts)
    sides = [prompt.replace("left", "right") for prompt in prompts]
    plain = plain_probabilities(study.results, split.images, prompts)
    mirror = plain_probabilities(study.results, split.images[:, :, ::-1], sides)
    for index, (one, other) in enumerate(zip(plain, mirror, strict=True)):
        expected = plain_scores((one + other.flip(1)) / 2, split.target(index), study.threshold)
        row = table.iloc[index]
        assert (row["dsc"], row["target_pixels"], row["predicted_pixels"]) == pytest.approx(expected, abs=2e-3)
    assert (table["dsc"] != score("busi", prompt_type="p2")["dsc"])[:4].all()


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
    cases = read_per_case(tmp_path)
    assert (cases["dsc_prompt_sd"] == 0).all() and (cases["dsc_prompt_ensemble"] == cases["dsc"]).all()
