"""Scores under each prompt type, at the input size and on other datasets, against plain computations case by case."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from evaluation_support import call
from PIL import Image

from pipeline.data.prompts import EVALUATION, draw_prompt
from pipeline.data.tensors import load_split
from pipeline.demo.tiny import tiny_config, write_tokenizer
from pipeline.evaluation import gallery
from pipeline.evaluation import score_prompts as prompt_sensitivity
from pipeline.evaluation import score_run as evaluate
from pipeline.evaluation import score_transfer as transfer
from pipeline.evaluation.per_case import COLUMNS, read_per_case
from pipeline.models.backbone import random_backbone
from pipeline.models.preprocessing import load_tokenizer, normalise, tokenise
from pipeline.models.segmenter import Segmenter
from pipeline.models.variants import build_segmenter
from pipeline.models.weights import load_weights, save_weights

torch.set_num_threads(1)
SIZE, SEED = 64, 41
VARIANT = {"kind": "telescopic"}
PROMPTS = {
    "p0": "",
    "p1": "polyp",
    "p2": ["one small pink polyp", "large red circle in the left of the image", "nodule"],
}


def _write_tensors(folder, generator, count, extra=None):
    """Test cases of different sizes, the last with an empty target; ``extra`` are prompts of the first case alone."""
    folder.mkdir(parents=True)
    images = generator.integers(0, 255, (count, SIZE, SIZE, 3), dtype=np.uint8)
    masks, packed, rows, offset = [], [], [], 0
    for index in range(count):
        height, width = 70 + 5 * index, 90 - 4 * index
        target = np.zeros((height, width), dtype=bool)
        if index < count - 1:
            target[10 : 40 + index, 20 : 60 - index] = True
        rows_of, columns_of = (np.arange(SIZE) * side // SIZE for side in target.shape)
        masks.append(target[rows_of][:, columns_of])
        packed.append(np.packbits(target))
        prompts = PROMPTS | (extra or {} if index == 0 else {})
        rows.append(
            {"case": f"{index:03}", "split": "test", "width": width, "height": height, "prompts": json.dumps(prompts)}
            | {"target_offset": offset, "target_bytes": len(packed[-1])}
        )
        offset += len(packed[-1])
    np.save(folder / "images.npy", images)
    np.save(folder / "masks.npy", np.array(masks, dtype=np.uint8))
    np.save(folder / "targets.npy", np.concatenate(packed))
    pd.DataFrame(rows).to_csv(folder / "cases.csv", index=False)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A tiny backbone whose masks depend on the prompt, a run of it, and two datasets."""
    root = tmp_path_factory.mktemp("study")
    config = tiny_config()
    for part in (config, config.vision_config, config.text_config):
        part.initializer_factor = 0.3
    backbone = random_backbone(config, 0)
    with torch.no_grad():
        generator = torch.Generator().manual_seed(1)
        for name, value in backbone.named_parameters():
            if value.ndim == 1 and not name.endswith("class_embedding"):
                value += 0.05 * torch.randn(value.shape, generator=generator)
            # At their start the encoder hardly looks at the prompt, and the decoder hardly at what the encoder says.
            if "text_model" in name and "self_attn" in name and value.ndim == 2:
                value.copy_(torch.randn(value.shape, generator=generator) / value.shape[1] ** 0.5)
            if "film" in name or "text_projection" in name:
                value *= 20
    backbone.save_pretrained(root / "backbone")
    write_tokenizer(root / "backbone")
    torch.manual_seed(0)
    segmenter = build_segmenter(VARIANT, random_backbone(config, 0))
    with torch.no_grad():
        for value in segmenter.trainable_parameters().values():
            value += 0.05 * torch.randn(value.shape, generator=generator)
    save_weights(root / "weights.safetensors", segmenter, VARIANT, {})
    numbers = np.random.default_rng(3)
    _write_tensors(root / "tensors/busi", numbers, 5, extra={"p7": "of one case only"})
    _write_tensors(root / "tensors/bkai", numbers, 3)
    return root


def _probabilities(root, images, prompts):
    """By the plain forward, one image and one prompt at a time: (S, S) float32 each."""
    from pipeline.models.backbone import load_backbone

    segmenter = load_weights(root / "weights.safetensors", load_backbone(root / "backbone"))
    tokenizer = load_tokenizer(root / "backbone")
    for image, prompt in zip(images, prompts, strict=True):
        ids, mask = tokenise(tokenizer, [prompt])
        with torch.no_grad():
            logits = segmenter(normalise(torch.from_numpy(np.array(image))[None]), ids, mask)
        yield torch.sigmoid(logits[0, 0])


def _threshold(root):
    """A probability about which masks are neither empty nor full."""
    split = load_split(root / "tensors/busi", "test")
    maps = list(_probabilities(root, split.images[:2], ["polyp", "nodule"]))
    return round(float(torch.stack(maps).median()), 4)


def _scores(probability, target, threshold):
    """DSC, target and predicted pixels at the target's size, by other code than the project's."""
    resized = torch.nn.functional.interpolate(probability[None, None], size=target.shape, mode="nearest-exact")[0, 0]
    mask = (resized > threshold).numpy()
    total = mask.sum() + target.sum()
    return (2 * (mask & target).sum() / total if total else 1.0), int(target.sum()), int(mask.sum())


def _options(root, threshold, *more):
    return (
        *("--backbone", root / "backbone", "--weights", root / "weights.safetensors", "--seed", SEED),
        *("--threshold", threshold, "--threads", 1, "--batch-size", 2, *more),
    )


def test_each_prompt_type_is_scored_as_alone(study, tmp_path, monkeypatch, capsys):
    threshold = _threshold(study)
    calls = []
    states = Segmenter.vision_states
    monkeypatch.setattr(Segmenter, "vision_states", lambda self, x: calls.append(len(x)) or states(self, x))
    path = tmp_path / "per_case.csv"
    call(
        monkeypatch, prompt_sensitivity.main, "--tensors", study / "tensors/busi",
        *_options(study, threshold, "--output", path),
    )  # fmt: skip
    assert calls == [2, 2, 1]  # each image once, whatever the number of prompt types
    monkeypatch.undo()
    table = read_per_case(tmp_path, ["prompt_type"])
    assert list(table.columns) == ["prompt_type", *COLUMNS]
    split = load_split(study / "tensors/busi", "test")
    assert list(table["prompt_type"]) == [name for name in ("p0", "p1", "p2", "random") for _ in range(5)]
    assert "left out, as not every case has them: p7" in capsys.readouterr().err
    for name, rows in table.groupby("prompt_type"):
        assert list(rows["case"]) == list(split.cases["case"])
        for index, (row, probability) in enumerate(
            zip(rows.itertuples(), _probabilities(study, split.images, rows["prompt"]), strict=True)
        ):
            options = split.cases["prompts"].iloc[index]
            assert row.prompt == draw_prompt(options, name, SEED, row.case, EVALUATION)
            expected = _scores(probability, split.target(index), threshold)
            assert (row.dsc, row.target_pixels, row.predicted_pixels) == pytest.approx(expected, abs=2e-3)
    predicted = table.pivot(index="case", columns="prompt_type", values="predicted_pixels")
    # The masks are neither empty nor the same under all prompts, so a mix-up would show.
    assert (predicted["p1"] != predicted["p0"]).all() and predicted.to_numpy().min() > 0
    assert table[table["prompt_type"] == "p2"]["prompt"].nunique() > 1


def test_random_prompts_give_the_scores_of_the_run(study, tmp_path, monkeypatch):
    threshold = _threshold(study)
    common = ("--tensors", study / "tensors/busi", *_options(study, threshold))
    call(monkeypatch, evaluate.main, *common, "--output", tmp_path / "run")
    call(monkeypatch, prompt_sensitivity.main, *common, "--output", tmp_path / "types/per_case.csv")
    own, types = read_per_case(tmp_path / "run"), read_per_case(tmp_path / "types", ["prompt_type"])
    drawn = types[types["prompt_type"] == "random"].drop(columns="prompt_type").reset_index(drop=True)
    pd.testing.assert_frame_equal(drawn, own, atol=1e-3)


def test_scores_at_the_input_size(study, tmp_path, monkeypatch):
    threshold = _threshold(study)
    common = ("--tensors", study / "tensors/busi", "--prompt-type", "p1", *_options(study, threshold))
    call(monkeypatch, evaluate.main, *common, "--output", tmp_path / "original")
    call(monkeypatch, evaluate.main, *common, "--at-input-size", "--output", tmp_path / "input")
    original, resized = read_per_case(tmp_path / "original"), read_per_case(tmp_path / "input")
    split = load_split(study / "tensors/busi", "test")
    maps = list(_probabilities(study, split.images, ["polyp"] * 5))
    for index, probability in enumerate(maps):
        for table, target in ((original, split.target(index)), (resized, split.masks[index] > 0)):
            row = table.iloc[index]
            expected = _scores(probability, target, threshold)
            assert (row["dsc"], row["target_pixels"], row["predicted_pixels"]) == pytest.approx(expected, abs=2e-3)
    assert (original["dsc"] != resized["dsc"])[:4].all()
    # A false alarm's HD95 is the diagonal of the image that is scored.
    assert resized["hd95"][4] == pytest.approx(SIZE * 2**0.5)
    assert original["hd95"][4] == pytest.approx(np.hypot(70 + 20, 90 - 16))
    assert json.loads((tmp_path / "input/summary.json").read_text())["dsc"] == pytest.approx(resized["dsc"].mean())


def test_transfer_keeps_the_scores_by_case(study, tmp_path, monkeypatch):
    threshold = _threshold(study)
    options = _options(study, threshold)
    tensors = {name: str(study / "tensors" / name) for name in ("bkai", "busi")}
    call(monkeypatch, transfer.main, "--tensors", json.dumps(tensors), *options, "--output", tmp_path / "per_case.csv")
    table = read_per_case(tmp_path, ["test_dataset"])
    assert table["test_dataset"].value_counts().to_dict() == {"bkai": 3, "busi": 5}
    for name in tensors:
        call(monkeypatch, evaluate.main, "--tensors", tensors[name], *options, "--output", tmp_path / name)
        rows = table[table["test_dataset"] == name].drop(columns="test_dataset").reset_index(drop=True)
        pd.testing.assert_frame_equal(rows, read_per_case(tmp_path / name))


def test_the_gallery_shows_what_was_scored(study, tmp_path, monkeypatch):
    """Under the empty prompt, with cases whose names are numbers with leading zeros."""
    tensors, run, images = tmp_path / "tensors", tmp_path / "run", tmp_path / "images"
    shutil.copytree(study / "tensors/busi", tensors)
    cases = pd.read_csv(tensors / "cases.csv", dtype=str)
    cases["image"] = cases["case"] + ".png"
    cases.to_csv(tensors / "cases.csv", index=False)
    images.mkdir()
    for row in cases.itertuples():
        Image.new("RGB", (int(row.width), int(row.height))).save(images / row.image)
    shared = ["--tensors", tensors, "--backbone", study / "backbone", "--threshold", _threshold(study), "--threads", 1]
    run.mkdir()
    weights = shutil.copy(study / "weights.safetensors", run)
    call(
        monkeypatch,
        evaluate.main,
        *shared,
        "--weights",
        weights,
        "--seed",
        SEED,
        "--prompt-type",
        "p0",
        "--output",
        run,
    )
    options = ["--images", images, "--runs", json.dumps({"telescopic": str(run)}), "--failures", 1]
    call(monkeypatch, gallery.main, *shared, *options, "--output", tmp_path / "gallery.npz")
    shown, scored = np.load(tmp_path / "gallery.npz"), read_per_case(run).set_index("case")
    assert shown["roles"].tolist() == ["best", "median", "worst", "failure"]
    assert set(shown["prompts"]) == {""}
    for index, case in enumerate(shown["cases"]):
        target, prediction = shown[f"target_{index}"], shown[f"prediction_{index}"][0]
        dsc = 2 * (target & prediction).sum() / (target.sum() + prediction.sum())
        assert shown["dsc"][index, 0] == pytest.approx(scored.loc[case, "dsc"]) == pytest.approx(dsc)
