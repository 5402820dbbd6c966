"""Pretrain the demo's tiny CLIPSeg on text-prompted coloured shapes, and write it as a backbone folder."""

import argparse
import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from transformers import CLIPSegForImageSegmentation, PreTrainedTokenizerBase

from pipeline.demo.shapes import TEMPLATES, ShapeBatch, draw_shapes
from pipeline.demo.tiny import write_tokenizer
from pipeline.models.backbone import tiny_config
from pipeline.models.preprocessing import crop_to_longest, load_tokenizer, normalise, tokenise
from pipeline.models.segmenter import Segmenter
from pipeline.runtime.atomic import atomic_folder
from pipeline.runtime.errors import run_command
from pipeline.runtime.progress import log, track
from pipeline.training.loss import batch_dsc, dice_bce_loss

QUERIES = 6
WARM_UP_STEPS = 30
GRADIENT_CLIP = 1.0
WEIGHT_DECAY = 0.01
VALIDATION_IMAGES = 64
# Only colours at first, and a slower text encoder: otherwise some seeds settle on ignoring the prompt.
EASY_SHARE = 0.25
TEXT_RATE = 0.4


def initialise(clipseg: CLIPSegForImageSegmentation) -> None:
    """Start the decoder from small weights: transformers' own start saturates it, and a short training stays there."""
    decoder = clipseg.decoder
    for module in decoder.modules():
        if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            module.reset_parameters()
    with torch.no_grad():
        nn.init.ones_(decoder.film_mul.bias)
        decoder.film_add.weight.mul_(0.5)
        # Most pixels are background.
        decoder.transposed_convolution[-1].bias.fill_(-2.0)


def shape_logits(segmenter: Segmenter, tokenizer: PreTrainedTokenizerBase, batch: ShapeBatch) -> tuple[Tensor, Tensor]:
    """Logits and masks of every prompt of every picture, (batch * queries, 1, side, side); each text encoded once."""
    asked = [prompt for prompts in batch.prompts for prompt in prompts]
    distinct = list(dict.fromkeys(asked))
    position = {prompt: index for index, prompt in enumerate(distinct)}
    input_ids = crop_to_longest(tokenise(tokenizer, distinct)[0])
    conditional = segmenter.conditional_embedding(segmenter.text_prefix(input_ids))
    conditional = conditional[torch.tensor([position[prompt] for prompt in asked])]
    pixels = normalise(torch.from_numpy(batch.images))
    states = [state.repeat_interleave(batch.masks.shape[1], 0) for state in segmenter.vision_states(pixels)]
    logits = segmenter.decode(states, conditional, (pixels.shape[2], pixels.shape[3]))
    return logits, torch.from_numpy(batch.masks).flatten(0, 1)[:, None]


def pretrain(
    tokenizer: PreTrainedTokenizerBase, image_size: int, steps: int, batch_size: int, learning_rate: float, seed: int
) -> tuple[CLIPSegForImageSegmentation, float]:
    """A tiny CLIPSeg trained on shapes, and its mean DSC (0..1) on shapes that it has not seen.

    Args:
        image_size: side of the shapes' pictures, pixels.
        learning_rate: AdamW's at its peak.
        seed: of weights and shapes.
    """
    torch.manual_seed(seed)
    clipseg = CLIPSegForImageSegmentation(tiny_config())
    initialise(clipseg)
    segmenter = Segmenter(clipseg)
    for parameter in segmenter.influential_parameters().values():
        parameter.requires_grad_(True)
    parameters = segmenter.trainable_parameters()
    groups: dict[tuple[float, float], list[Tensor]] = {}
    for name, value in parameters.items():
        key = (TEXT_RATE if "text" in name else 1.0, WEIGHT_DECAY if value.ndim > 1 else 0.0)
        groups.setdefault(key, []).append(value)
    optimizer = torch.optim.AdamW(
        [
            {"params": values, "lr": scale * learning_rate, "weight_decay": decay}
            for (scale, decay), values in groups.items()
        ],
        betas=(0.9, 0.98),
        fused=True,
    )

    def rate(step: int) -> float:
        return min(1.0, (step + 1) / WARM_UP_STEPS) * 0.5 * (1 + math.cos(math.pi * step / steps))

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
    generator = np.random.default_rng(seed)
    segmenter.train()
    for step in track(range(1, steps + 1), "pretraining", steps):
        templates = TEMPLATES[:1] if step <= EASY_SHARE * steps else TEMPLATES
        batch = draw_shapes(generator, batch_size, image_size, QUERIES, templates)
        logits, masks = shape_logits(segmenter, tokenizer, batch)
        loss = dice_bce_loss(logits, masks, dice_weight=1.0)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters.values(), GRADIENT_CLIP)
        optimizer.step()
        schedule.step()
        if step % 100 == 0:
            log(f"pretraining step {step}/{steps} loss {loss.item():.3f}")
    segmenter.eval()
    unseen = draw_shapes(np.random.default_rng(seed + 1), VALIDATION_IMAGES, image_size, QUERIES)
    with torch.no_grad():
        dsc = batch_dsc(*shape_logits(segmenter, tokenizer, unseen)).mean().item()
    return clipseg, dsc


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--image-size", type=int, required=True, help="side of the shapes' pictures, pixels")
    parser.add_argument("--steps", type=int, required=True, help="optimizer steps")
    parser.add_argument("--batch-size", type=int, required=True, help="pictures per step")
    parser.add_argument("--learning-rate", type=float, required=True, help="AdamW's at its peak")
    parser.add_argument("--seed", type=int, required=True, help="of weights and shapes")
    parser.add_argument("--threads", type=int, required=True, help="CPU threads; part of the result's identity")
    parser.add_argument("--output", type=Path, required=True, help="folder of the backbone")
    options = vars(parser.parse_args())
    torch.set_num_threads(options.pop("threads"))
    with atomic_folder(options.pop("output")) as folder:
        write_tokenizer(folder)
        clipseg, dsc = pretrain(load_tokenizer(folder), **options)
        clipseg.save_pretrained(folder)
    log(f"DSC on unseen shapes {dsc:.3f}, after {options['steps']} steps")


if __name__ == "__main__":
    run_command(main)
