"""A trainer of a tiny CLIPSeg on a few squares, and prepared folders for a whole run."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from data_support import make_clinicdb
from model_support import save_tiny, tiny

from pipeline.data.standardise import standardise
from pipeline.data.tensors import prepare
from pipeline.demo.tiny import write_tokenizer
from pipeline.models.preprocessing import load_tokenizer
from pipeline.models.textcache import TextCache
from pipeline.models.variants import build_segmenter
from pipeline.training.loop import Trainer, to_device
from pipeline.training.settings import TrainingSettings

SIDE = 64
PROMPTS = ["pink polyp", "one small round polyp", "dark oval lesion"]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    write_tokenizer(folder)
    return load_tokenizer(folder)


@pytest.fixture
def make_trainer(tokenizer) -> Callable[..., Trainer]:
    def make(variant="telescopic", cases: int = 10, seed: int = 41, batch: int = 4, **settings) -> Trainer:
        generator = np.random.default_rng(3)
        images = generator.integers(0, 255, (cases + 4, SIDE, SIDE, 3), dtype=np.uint8)
        masks = np.zeros((cases + 4, SIDE, SIDE), dtype=np.uint8)
        for mask, image, corner in zip(masks, images, generator.integers(0, 32, (cases + 4, 2)), strict=True):
            mask[corner[0] : corner[0] + 24, corner[1] : corner[1] + 24] = 1
            image[mask == 1] //= 3
        torch.manual_seed(seed)
        segmenter = build_segmenter(variant, tiny())
        options = TrainingSettings(batch_size=batch, learning_rate=3e-3, **settings)
        return Trainer(
            segmenter,
            TextCache(segmenter, tokenizer, PROMPTS),
            to_device(images[:cases], masks[:cases], "cpu"),
            to_device(images[cases:], masks[cases:], "cpu"),
            train_prompts=lambda epoch: torch.tensor([(epoch + i) % 3 for i in range(cases)]),
            val_prompts=torch.tensor([0, 1, 2, 0]),
            settings=options,
            seed=seed,
            name="kvasir_seg/telescopic/seed41",
        )

    return make


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> tuple[Path, Path]:
    """Folders of prepared tensors and of a tiny backbone."""
    folder = tmp_path_factory.mktemp("study")
    archives, annotations = make_clinicdb(("train",) * 9 + ("val",) * 2 + ("test",) * 3).write(folder)
    standardise("clinicdb", archives, annotations, "published", 0, 2, folder / "dataset")
    prepare(folder / "dataset", 64, 2, folder / "tensors")
    return folder / "tensors", save_tiny(folder / "backbone")
