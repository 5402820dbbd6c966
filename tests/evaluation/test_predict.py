"""Your own images: masks, overlays and probabilities from a run or a released checkpoint."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from model_support import tiny, trained_start
from PIL import Image

from pipeline.demo.tiny import write_tokenizer
from pipeline.evaluation import predict
from pipeline.evaluation.metrics import upsample_probability
from pipeline.models.checkpoints import export
from pipeline.models.preprocessing import load_tokenizer, normalise, tokenise
from pipeline.models.weights import load_weights, save_weights
from pipeline.runtime.errors import PipelineError

ROOT = Path(__file__).parents[2]
VARIANT = {"kind": "telescopic"}
PROMPT = "one small pink polyp"


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A results folder with a backbone and one run, and three images of different size and kind."""
    root = tmp_path_factory.mktemp("study")
    backbone, run = root / "results/backbone", root / "results/runs/busi/telescopic/seed41"
    tiny().save_pretrained(backbone)
    write_tokenizer(backbone)
    run.mkdir(parents=True)
    digest = hashlib.sha256((backbone / "model.safetensors").read_bytes()).hexdigest()
    extra = {"seed": "41", "backbone_sha256": digest, "data_sha256": "0" * 64}
    save_weights(run / "weights.safetensors", trained_start(VARIANT, tiny()), VARIANT, extra)
    generator = np.random.default_rng(0)
    images = root / "images"
    images.mkdir()
    for name, shape in {"wide.png": (70, 120, 3), "tall.jpg": (150, 61, 3), "grey.bmp": (64, 64)}.items():
        Image.fromarray(generator.integers(0, 255, shape, dtype=np.uint8)).save(images / name)
    (images / "notes.txt").write_text("not an image")
    return root


def run_predict(monkeypatch, *arguments) -> None:
    monkeypatch.setattr("sys.argv", ["predict", *map(str, arguments)])
    predict.main()


def expected_probability(study: Path, image: Path, size: int) -> np.ndarray:
    """By the plain forward: (size, size) float32."""
    weights = study / "results/runs/busi/telescopic/seed41/weights.safetensors"
    segmenter = load_weights(weights, tiny())
    pixels = np.asarray(Image.open(image).convert("RGB").resize((size, size), Image.Resampling.BILINEAR))
    ids, mask = tokenise(load_tokenizer(study / "results/backbone"), [PROMPT])
    with torch.no_grad():
        logits = segmenter(normalise(torch.from_numpy(pixels.copy())[None]), ids, mask)
    return torch.sigmoid(logits[0, 0]).numpy()


def test_masks_overlays_and_probabilities_of_a_folder(study, tmp_path, monkeypatch):
    output = tmp_path / "output"
    run = study / "results/runs/busi/telescopic/seed41"
    run_predict(
        monkeypatch, "--run", run, "--image", study / "images", "--prompt", PROMPT, "--output", output,
        "--image-size", 96, "--probabilities",
    )  # fmt: skip
    assert sorted(path.name for path in output.iterdir()) == sorted(
        f"{name}_{part}" for name in ("wide", "tall", "grey") for part in ("mask.png", "overlay.png", "probability.npy")
    )
    foreground = 0
    for image in (path for path in (study / "images").iterdir() if path.suffix != ".txt"):
        width, height = Image.open(image).size
        mask = np.asarray(Image.open(output / f"{image.stem}_mask.png"))
        probability = np.load(output / f"{image.stem}_probability.npy")
        overlay = np.asarray(Image.open(output / f"{image.stem}_overlay.png"))
        assert mask.shape == probability.shape == (height, width) and overlay.shape == (height, width, 3)
        assert mask.dtype == np.uint8 and set(np.unique(mask)) <= {0, 255}
        assert probability.dtype == np.float32
        expected = expected_probability(study, image, 96)
        assert np.abs(probability - upsample_probability(expected, height, width)).max() < 1e-5
        assert np.array_equal(mask > 0, probability > 0.5)
        # Outside the mask the overlay is the image, inside it is not.
        original = np.asarray(Image.open(image).convert("RGB"))
        assert np.array_equal(overlay[mask == 0], original[mask == 0])
        assert (overlay[mask > 0] != original[mask > 0]).any(axis=1).mean() > 0.99
        foreground += (mask > 0).mean() / 3
    assert 0.02 < foreground < 0.98


def test_a_checkpoint_gives_the_masks_of_its_run(study, tmp_path, monkeypatch):
    run, backbone = study / "results/runs/busi/telescopic/seed41", study / "results/backbone"
    export(run, backbone, tmp_path / "run.ckpt")
    common = ["--image", study / "images/wide.png", "--prompt", PROMPT, "--image-size", 96]
    run_predict(monkeypatch, "--run", run, *common, "--output", tmp_path / "a")
    run_predict(
        monkeypatch, "--checkpoint", tmp_path / "run.ckpt", "--backbone", backbone, *common, "--output", tmp_path / "b"
    )
    for name in ("wide_mask.png", "wide_overlay.png"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert not list(tmp_path.glob("*/*.npy"))


def test_the_threshold_moves_the_mask(study, tmp_path, monkeypatch):
    areas = []
    for threshold in ("0.000001", "0.5", "0.999999"):
        run_predict(
            monkeypatch, "--run", study / "results/runs/busi/telescopic/seed41", "--image", study / "images/wide.png",
            "--prompt", PROMPT, "--image-size", 96, "--threshold", threshold, "--output", tmp_path / threshold,
        )  # fmt: skip
        areas.append(int((np.asarray(Image.open(tmp_path / threshold / "wide_mask.png")) > 0).sum()))
    assert areas[0] > areas[1] > areas[2]


def test_what_is_refused(study, tmp_path, monkeypatch):
    run = study / "results/runs/busi/telescopic/seed41"

    def refused(*arguments, run=run, image=study / "images/wide.png") -> str:
        with pytest.raises(PipelineError) as error:
            run_predict(
                monkeypatch, "--run", run, "--image", image, "--prompt", PROMPT, "--output", tmp_path / "o", *arguments
            )
        return str(error.value)

    assert "absent.png: no such image" in refused(image=tmp_path / "absent.png")
    (tmp_path / "empty").mkdir()
    assert "no image in this folder" in refused(image=tmp_path / "empty")
    assert "notes.txt: cannot be read as an image" in refused(image=study / "images/notes.txt")
    assert "--image-size: 100 is not a multiple of 16" in refused("--image-size", 100)
    (tmp_path / "wide.jpg").write_bytes((study / "images/tall.jpg").read_bytes())
    repeated = [study / "images/wide.png", tmp_path / "wide.jpg"]
    with pytest.raises(PipelineError, match="two images are named wide"):
        predict.find_images(repeated)
    other = tmp_path / "other"
    write_tokenizer(other)
    changed = tiny()
    with torch.no_grad():
        changed.decoder.film_add.bias += 1
    changed.save_pretrained(other)
    assert "trained on another backbone than" in refused("--backbone", other)
    assert "weights.safetensors: cannot be read as a run's weights" in refused(
        "--backbone", study / "results/backbone", run=tmp_path
    )


def test_the_command_as_users_type_it(study, tmp_path):
    command = [sys.executable, "-m", "pipeline", "predict"]
    arguments = [
        "--run", "results/runs/busi/telescopic/seed41", "--image", "images/wide.png", "images/tall.jpg",
        "--prompt", PROMPT, "--output", str(tmp_path / "output"), "--image-size", "64",
    ]  # fmt: skip
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, *arguments], cwd=study, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "output").iterdir())) == 4
    assert "2 masks and overlays in" in done.stderr
    done = subprocess.run(
        [*command[:-1], "predikt"], cwd=study, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2 and "invalid choice: 'predikt'" in done.stderr
