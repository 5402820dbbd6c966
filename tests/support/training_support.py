"""A trainer of the tiny CLIPSeg on a few dark squares in noise."""

import functools
import tempfile
from pathlib import Path

import numpy as np
import torch
from data_support import make_clinicdb
from model_support import VARIANTS, save_tiny, tiny

from pipeline.data.standardise import standardise
from pipeline.data.tensors import prepare
from pipeline.demo.tiny import write_tokenizer
from pipeline.models.preprocessing import load_tokenizer
from pipeline.models.textcache import TextCache
from pipeline.models.variants import build_segmenter
from pipeline.training.augmentation import draw_views
from pipeline.training.loop import Trainer, to_device
from pipeline.training.settings import TrainingSettings

SIDE = 64
PROMPTS = ["pink polyp", "one small round polyp", "dark oval lesion"]
NAME = "kvasir_seg/telescopic/seed41"


@functools.cache
def tiny_tokenizer():
    """The demo's tokenizer."""
    with tempfile.TemporaryDirectory() as folder:
        write_tokenizer(folder)
        return load_tokenizer(folder)


def write_prepared(folder: Path) -> tuple[Path, Path]:
    """Folders of prepared tensors (9, 2 and 3 cases) and of a tiny backbone, written into ``folder``."""
    archives, annotations = make_clinicdb(("train",) * 9 + ("val",) * 2 + ("test",) * 3).write(folder)
    standardise("clinicdb", archives, annotations, "published", 0, 2, folder / "dataset")
    prepare(folder / "dataset", SIDE, 2, folder / "tensors")
    return folder / "tensors", save_tiny(folder / "backbone")


def make_trainer(
    variant="telescopic",
    cases: int = 10,
    seed: int = 41,
    batch: int = 4,
    device: str = "cpu",
    images_per_epoch: int | None = None,
    **settings,
) -> Trainer:
    """A trainer of a variant (settings of its kind, or a name in VARIANTS) with ``cases`` training cases."""
    generator = np.random.default_rng(3)
    images = generator.integers(0, 255, (cases + 4, SIDE, SIDE, 3), dtype=np.uint8)
    masks = np.zeros((cases + 4, SIDE, SIDE), dtype=np.uint8)
    for mask, image, corner in zip(masks, images, generator.integers(0, 32, (cases + 4, 2)), strict=True):
        mask[corner[0] : corner[0] + 24, corner[1] : corner[1] + 24] = 1
        image[mask == 1] //= 3
    names = list(map(str, range(cases)))
    views = (lambda index: draw_views(names, seed, index).values) if settings.get("augmentation") == "light" else None
    torch.manual_seed(seed)
    segmenter = build_segmenter(VARIANTS[variant] if isinstance(variant, str) else variant, tiny()).to(device)
    return Trainer(
        segmenter,
        TextCache(segmenter, tiny_tokenizer(), PROMPTS),
        to_device(images[:cases], masks[:cases], device),
        to_device(images[cases:], masks[cases:], device),
        train_prompts=lambda epoch: torch.tensor([(epoch + i) % 3 for i in range(cases)]),
        val_prompts=torch.tensor([0, 1, 2, 0]),
        settings=TrainingSettings(**({"batch_size": batch, "learning_rate": 3e-3} | settings)),
        seed=seed,
        name=NAME,
        images_per_epoch=images_per_epoch,
        train_views=views,
    )
