"""Your own images: masks, overlays, probabilities and their summary from runs or a released checkpoint."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from data_support import encode
from evaluation_support import call
from model_support import trained_start
from PIL import Image
from scoring_support import RUN, plain_probabilities

from pipeline.evaluation.metrics import upsample_probability
from pipeline.inference import predict
from pipeline.models.backbone import load_backbone
from pipeline.models.checkpoints import export
from pipeline.models.weights import read_metadata, save_weights
from pipeline.runtime.errors import FIXES, PipelineError, run_command

ROOT = Path(__file__).parents[2]
PROMPT = "one small pink polyp"
SHAPES = {"wide.png": (70, 120, 3), "wide.jpg": (150, 61, 3), "grey.bmp": (64, 64)}


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
        given = source | {"image": images / "wide.png", "prompt": PROMPT, "image_size": 96, "output": output} | options
        call(predict.main, **{name: value for name, value in given.items() if value is not None})
        return output

    return with_options


def summary(output: Path) -> pd.DataFrame:
    return pd.read_csv(output / "summary.csv")


def test_everything_of_a_folder(study, images, segment, capsys):
    output = segment(image=images, probabilities=True, threshold=study.threshold)
    assert len(list(output.iterdir())) == 10
    table = summary(output).set_index("mask")
    for name in SHAPES:
        original = Image.open(images / name).convert("RGB")
        mask, overlay = (np.asarray(Image.open(output / f"{name}_{part}.png")) for part in ("mask", "overlay"))
        probability = np.asarray(Image.open(output / f"{name}_probability.tif"))
        pixels = np.asarray(original.resize((96, 96), Image.Resampling.BILINEAR))
        (expected,) = plain_probabilities(study.results, [pixels], [PROMPT])
        assert (mask.dtype, probability.dtype) == (np.uint8, np.float32) and set(np.unique(mask)) <= {0, 255}
        assert np.abs(probability - upsample_probability(expected.numpy(), *mask.shape)).max() < 1e-5
        assert np.array_equal(mask > 0, probability > study.threshold)
        # Outside the mask the overlay is the image, inside it is not.
        original = np.asarray(original)
        assert np.array_equal(overlay[mask == 0], original[mask == 0])
        assert (overlay[mask > 0] != original[mask > 0]).any(axis=1).mean() > 0.99
        row = table.loc[f"{name}_mask.png"]
        assert (row["image"], row["prompt"], row["height"]) == (str(images / name), PROMPT, len(mask))
        assert row["pixels"] == np.count_nonzero(mask) and row["share"] == pytest.approx((mask > 0).mean())
        assert row["highest_probability"] == pytest.approx(probability.max())
    assert 0.02 < table["share"].mean() < 0.98 and table["agreement"].isna().all()
    assert "Research software, not a medical device." in capsys.readouterr().err


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


def test_boxes_and_regions():
    mask = np.zeros((6, 9), bool)
    mask[1, 2] = mask[2, 3] = mask[4, 6:8] = True
    assert predict.describe(mask) == {
        **{"width": 9, "height": 6, "pixels": 4, "share": pytest.approx(4 / 54), "regions": 2},
        **{"left": 2, "top": 1, "right": 8, "bottom": 5},
    }
    empty = predict.describe(np.zeros((6, 9), bool))
    assert empty["left"] is None and empty["bottom"] is None and empty["regions"] == 0


def test_a_table_of_images_and_prompts(study, images, segment, tmp_path):
    rows = [f"wide.png,{PROMPT}", "wide.jpg,nodule", "wide.png,nodule"]
    (images / "list.csv").write_text("\n".join(["image,prompt", *rows]))
    output = segment(image=images / "list.csv", prompt=None, probabilities=True)
    assert list(summary(output)["prompt"]) == [PROMPT, "nodule", "nodule"]
    pixels = np.asarray(Image.open(images / "wide.png").resize((96, 96), Image.Resampling.BILINEAR))
    for name, prompt in (("wide.png", PROMPT), ("wide.png-2", "nodule")):
        (expected,) = plain_probabilities(study.results, [pixels], [prompt])
        found = np.asarray(Image.open(output / f"{name}_probability.tif"))
        assert np.abs(found - upsample_probability(expected.numpy(), *found.shape)).max() < 1e-5


def test_the_average_of_a_variants_seeds(study, segment, tmp_path):
    backbone, variant = study.results / "backbone", tmp_path / "study/runs/busi/telescopic"
    alone = []
    for seed in (1, 2):
        run = variant / f"seed{seed}"
        run.mkdir(parents=True)
        settings = {"kind": "telescopic"}
        segmenter = trained_start(settings, load_backbone(backbone), seed)
        extra = read_metadata(study.results / RUN / "weights.safetensors") | {"image_size": "96"}
        save_weights(run / "weights.safetensors", segmenter, settings, extra)
        options = {"backbone": backbone, "image_size": None, "probabilities": True}
        alone.append(np.asarray(Image.open(segment(run=run, **options) / "wide.png_probability.tif")))
    mean = np.mean(alone, axis=0)
    assert np.abs(alone[0] - alone[1]).max() > 0.02
    middle = float(np.median(mean))
    output = segment(run=variant, threshold=middle, **options)
    assert np.abs(np.asarray(Image.open(output / "wide.png_probability.tif")) - mean).max() < 1e-6
    both = segment(run=(variant / "seed1", variant / "seed2"), threshold=middle, **options)
    assert (both / "wide.png_mask.png").read_bytes() == (output / "wide.png_mask.png").read_bytes()
    assert 0.1 < summary(output)["agreement"].item() < 1


def test_a_checkpoint_gives_the_masks_of_its_run(study, segment, tmp_path):
    backbone = study.results / "backbone"
    export(study.results / RUN, backbone, tmp_path / "run.ckpt")
    of_run = segment(threshold=study.threshold)
    of_file = segment(threshold=study.threshold, checkpoint=tmp_path / "run.ckpt", backbone=backbone)
    for name in ("wide.png_mask.png", "wide.png_overlay.png"):
        assert (of_run / name).read_bytes() == (of_file / name).read_bytes()


def test_the_scaling_of_16_bits_is_told(segment, tmp_path, capsys):
    for name in ("a", "b"):
        (tmp_path / f"{name}.png").write_bytes(encode(np.arange(4096, dtype=np.uint16).reshape(64, 64)))
    images = (tmp_path / "a.png", tmp_path / "b.png")
    automatic, given = segment(image=images), segment(image=images, window=(0, 4095))
    told = r"scaled to 0..255 by percentiles: {}: levels 20.475 to 4074.53, and 1 more (windows in summary.csv)"
    log = capsys.readouterr().err
    assert log.count("by percentiles") == 1 and told.format(images[0]) in log
    assert summary(automatic)["window_high"].tolist() == pytest.approx([4074.525] * 2)
    assert summary(given)["window_high"].tolist() == [4095] * 2


def test_a_prompt_that_is_cut_is_told(segment, capsys):
    segment(prompt=" ".join(["polyp"] * 75))
    assert "warning" not in capsys.readouterr().err
    segment(prompt=" ".join(["polyp"] * 75 + ["small", "nodule"]))
    assert "warning: a prompt of 79 tokens is cut to 77; not seen: 'small nodule' of 'polyp" in capsys.readouterr().err


def test_images_that_cannot_be_read_do_not_stop_the_others(images, segment, tmp_path):
    given = (images / "wide.png", images / "notes.txt", images / "grey.bmp")
    with pytest.raises(PipelineError, match=r"1 of 3 images left out .*notes\.txt: the image does not decode"):
        segment(image=given, output=tmp_path / "output")
    table = summary(tmp_path / "output")
    assert table["error"].notna().tolist() == [False, True, False]
    assert (tmp_path / "output/grey.bmp_mask.png").is_file() and table["pixels"].isna().tolist() == [False, True, False]


def test_what_is_refused(images, segment):
    for message, options in (
        ("--image-size: 100 is not a multiple of 16", {"image_size": 100}),
        ("--image-size: -16 is not a multiple of 16", {"image_size": -16}),
        ("--threshold: 0 is not between 0 and 1", {"threshold": 0}),
        ("--threshold: nan is not between 0 and 1", {"threshold": "nan"}),
        ("--window: LOW must be below HIGH, got 300 -100", {"window": (300, -100)}),
        ("--output: .* is where the images are", {"image": images, "output": images}),
    ):
        with pytest.raises(PipelineError, match=message):
            segment(**options)


def test_an_output_that_is_a_file(images, segment, capsys):
    with pytest.raises(SystemExit, match="1"):
        run_command(lambda: segment(output=images / "notes.txt"))
    assert capsys.readouterr().err == f"error: {images / 'notes.txt'}: {FIXES[errno.EEXIST]}\n"


def test_the_command_as_users_type_it(study, images, tmp_path):
    command = [sys.executable, "-m", "pipeline", "predict", "--run", RUN, "--prompt", PROMPT, "--image-size", "64"]
    command += ["--image", images / "wide.png", images / "wide.jpg", "--output", tmp_path / "output"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=study.results, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "output").iterdir())) == 5
    assert "2 masks and overlays in" in done.stderr


def test_a_model_that_reads_no_prompt(study, segment, tmp_path, capsys):
    variant = {"kind": "unet", "channels": [4, 4, 4, 4, 4]}
    model = trained_start(variant, load_backbone(study.results / "backbone"))
    (tmp_path / "run").mkdir()
    save_weights(tmp_path / "run/weights.safetensors", model, variant, {})
    backbone = study.results / "backbone"
    one, other = (segment(run=tmp_path / "run", prompt=prompt, backbone=backbone) for prompt in ("polyp", "sky"))
    assert "reads no prompt" in capsys.readouterr().err
    masks = [np.asarray(Image.open(folder / "wide.png_mask.png")) for folder in (one, other)]
    assert masks[0].shape == (70, 120) and (masks[0] == masks[1]).all() and set(np.unique(masks[0])) == {0, 255}
