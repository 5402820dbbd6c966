"""The reference's way of training, for the benchmark and the equivalence test: same mathematics, nothing kept.

A stand-in in this project's own code for what vlsm-adapter and medvlsm do in each step: image files decoded and resized
by Pillow in loader processes, prompts tokenised each time and padded to 77 tokens, all twelve layers of both encoders,
AdamW without fused kernels, and the loss read back in each step.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from transformers import CLIPSegForImageSegmentation, PreTrainedTokenizerBase

from pipeline.models.kinds import parse_variant
from pipeline.models.precision import AUTOCAST
from pipeline.models.preprocessing import IMAGE_MEAN, IMAGE_STD, tokenise
from pipeline.models.segmenter import Segmenter
from pipeline.training.loss import dice_bce_loss
from pipeline.training.settings import TrainingSettings


class PlainSegmenter(Segmenter):
    """A segmenter that runs every vision layer, whether or not the decoder reads what comes after."""

    @property
    def vision_depth(self) -> int:
        return len(self.clipseg.clip.vision_model.encoder.layers)


def build_plain(variant: dict, backbone: CLIPSegForImageSegmentation) -> PlainSegmenter:
    """As :func:`pipeline.models.variants.build_segmenter`."""
    segmenter = PlainSegmenter(backbone)
    parse_variant(variant).change(segmenter)
    return segmenter


class ImageFiles(Dataset):
    """Images and masks read from their files each time.

    Args:
        pairs: paths of image and mask.
        prompts: one for each pair.
    """

    def __init__(
        self, pairs: Sequence[tuple[Path, Path]], prompts: Sequence[str], tokenizer: PreTrainedTokenizerBase, size: int
    ):
        self.pairs, self.prompts, self.tokenizer, self.size = pairs, prompts, tokenizer, size

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        image_path, mask_path = self.pairs[index]
        shape = (self.size, self.size)
        with Image.open(image_path) as image:
            pixels = np.asarray(image.convert("RGB").resize(shape, Image.Resampling.BILINEAR), dtype=np.float32) / 255
        with Image.open(mask_path) as mask:
            target = np.asarray(mask.convert("L").resize(shape, Image.Resampling.NEAREST)) >= 128
        pixels = (pixels - np.float32(IMAGE_MEAN)) / np.float32(IMAGE_STD)
        ids, attention = tokenise(self.tokenizer, [self.prompts[index]])
        return {
            "pixel_values": torch.from_numpy(pixels).permute(2, 0, 1).contiguous(),
            "input_ids": ids[0],
            "attention_mask": attention[0],
            "mask": torch.from_numpy(target.astype(np.float32))[None],
        }


class PlainTrainer:
    """Trains from files, step by step."""

    def __init__(self, segmenter: PlainSegmenter, files: ImageFiles, settings: TrainingSettings, workers: int = 4):
        self.segmenter, self.settings = segmenter, settings
        self.device = segmenter.clipseg.device.type
        self.precision = settings.precision if self.device == "cuda" else "fp32"
        self.loader = DataLoader(
            files,
            settings.batch_size,
            shuffle=True,
            num_workers=workers,
            pin_memory=self.device == "cuda",
            # Linux's default before Python 3.14; a process that was spawned would have its workers import torch anew.
            multiprocessing_context="fork" if workers else None,
        )
        self.parameters = list(segmenter.trainable_parameters().values())
        self.optimizer = torch.optim.AdamW(
            self.parameters, lr=settings.learning_rate, weight_decay=settings.weight_decay, foreach=False
        )
        self.scaler = torch.amp.GradScaler(self.device, enabled=self.precision == "fp16")

    def step(self, batch: dict[str, Tensor]) -> float:
        """One optimizer step; its loss, read back from the device."""
        batch = {name: value.to(self.device) for name, value in batch.items()}
        mask = batch.pop("mask")
        self.optimizer.zero_grad()
        dtype = AUTOCAST.get(self.precision, torch.bfloat16)
        with torch.autocast(self.device, dtype=dtype, enabled=self.precision != "fp32"):
            logits = self.segmenter(**batch)
        loss = dice_bce_loss(logits, mask, self.settings.dice_weight, self.settings.bce_weight)
        self.scaler.scale(loss).backward()
        self.scaler.unscale_(self.optimizer)
        torch.nn.utils.clip_grad_norm_(self.parameters, self.settings.gradient_clip)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return loss.item()

    def train_epoch(self) -> float:
        """Train on every file once; the mean of the steps' losses."""
        self.segmenter.train()
        losses = [self.step(batch) for batch in self.loader]
        return sum(losses) / len(losses)
