"""Your own images: masks, overlays and probabilities from a run or a released checkpoint."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from evaluation_support import call
from model_support import save_tiny
from PIL import Image
from scoring_support import RUN, plain_probabilities

from pipeline.evaluation.metrics import upsample_probability
from pipeline.inference import predict
from pipeline.models.checkpoints import export
from pipeline.runtime.errors import PipelineError

ROOT = Path(__file__).parents[2]
PROMPT = "one small pink polyp"
SHAPES = {"wide.png": (70, 120, 3), "tall.jpg": (150, 61, 3), "grey.bmp": (64, 64)}


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> Path:
    """A folder with three images of different size and kind, and a text."""
    folder, generator = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for name, shape in SHAPES.items():
        Image.fromarray(generator.integers(0, 255, shape, dtype=np.uint8)).save(folder / name)
    (folder / "notes.txt").write_text("not an image")
    return folder


@pytest.fixture
def segment(study, images, tmp_path):
    """Segment wide.png with the study's run, unless other options are given; the folder of the results."""

    def with_options(**options) -> Path:
        output = tmp_path / f"output{len(list(tmp_path.iterdir()))}"
        source = {} if "checkpoint" in options else {"run": study.results / RUN}
        given = source | {"image": images / "wide.png", "prompt": PROMPT, "image_size": 96, "output": output}
        call(predict.main, **given | options)
        return output

    return with_options


def test_masks_overlays_and_probabilities_of_a_folder(study, images, segment):
    output = segment(image=images, probabilities=True, threshold=study.threshold)
    assert len(list(output.iterdir())) == 9
    foreground = []
    for name in SHAPES:
        original = Image.open(images / name).convert("RGB")
        stem = output / Path(name).stem
        mask, overlay = (np.asarray(Image.open(f"{stem}_{part}.png")) for part in ("mask", "overlay"))
        probability = np.load(f"{stem}_probability.npy")
        pixels = np.asarray(original.resize((96, 96), Image.Resampling.BILINEAR))
        (expected,) = plain_probabilities(study.results, [pixels], [PROMPT])
        assert (mask.dtype, probability.dtype) == (np.uint8, np.float32) and set(np.unique(mask)) <= {0, 255}
        assert np.abs(probability - upsample_probability(expected.numpy(), *mask.shape)).max() < 1e-5
        assert np.array_equal(mask > 0, probability > study.threshold)
        # Outside the mask the overlay is the image, inside it is not.
        original = np.asarray(original)
        assert np.array_equal(overlay[mask == 0], original[mask == 0])
        assert (overlay[mask > 0] != original[mask > 0]).any(axis=1).mean() > 0.99
        foreground.append((mask > 0).mean())
    assert 0.02 < np.mean(foreground) < 0.98


def test_the_overlay_is_tinted_and_outlined():
    mask = np.zeros((7, 7), bool)
    mask[2:, 1:6] = True
    shown = predict.overlay(np.full((7, 7, 3), 100, np.uint8), mask)
    assert {tuple(pixel) for pixel in shown[~mask].tolist()} == {(100, 100, 100)}
    # Not outlined where the mask leaves the image.
    outline = mask.copy()
    outline[3:, 2:5] = False
    assert (shown[outline] == 255).all()
    assert {tuple(pixel) for pixel in shown[mask & ~outline].tolist()} == {(60, 106, 162)}


def test_a_checkpoint_gives_the_masks_of_its_run(study, segment, tmp_path):
    backbone = study.results / "backbone"
    export(study.results / RUN, backbone, tmp_path / "run.ckpt")
    of_run = segment(threshold=study.threshold)
    of_file = segment(threshold=study.threshold, checkpoint=tmp_path / "run.ckpt", backbone=backbone)
    for name in ("wide_mask.png", "wide_overlay.png"):
        assert (of_run / name).read_bytes() == (of_file / name).read_bytes()
    assert len(list(of_run.iterdir())) == 2


def test_what_is_refused(study, images, segment, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "wide.jpg").write_bytes((images / "tall.jpg").read_bytes())
    other, own = save_tiny(tmp_path / "other"), study.results / "backbone"
    for message, options in (
        (r"absent\.png: no such image", {"image": tmp_path / "absent.png"}),
        ("no image in this folder", {"image": tmp_path / "empty"}),
        (r"notes\.txt: cannot be read as an image", {"image": images / "notes.txt"}),
        ("two images are named wide", {"image": (images / "wide.png", tmp_path / "wide.jpg")}),
        ("--image-size: 100 is not a multiple of 16", {"image_size": 100}),
        ("trained on another backbone than", {"backbone": other}),
        (r"weights\.safetensors: cannot be read as a run's weights", {"run": tmp_path, "backbone": own}),
        ("no such folder; pass the CLIPSeg that was trained on as --backbone", {"run": tmp_path}),
    ):
        with pytest.raises(PipelineError, match=message):
            segment(**options)


def test_the_command_as_users_type_it(study, images, tmp_path):
    command = [sys.executable, "-m", "pipeline", "predict", "--run", RUN, "--prompt", PROMPT, "--image-size", "64"]
    command += ["--image", images / "wide.png", images / "tall.jpg", "--output", tmp_path / "output"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=study.results, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "output").iterdir())) == 4
    assert "2 masks and overlays in" in done.stderr
