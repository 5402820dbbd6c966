"""A segmenter's foreground probabilities for images and prompts."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from pipeline.data.prompts import mirrored
from pipeline.models.frozen import prepare_frozen
from pipeline.models.interface import SegmentationModel
from pipeline.models.precision import autocast, computes
from pipeline.models.preprocessing import normalise
from pipeline.models.textcache import TextCache


@torch.inference_mode()
def maps_by_prompt_type(
    segmenter: SegmentationModel,
    tokenizer: PreTrainedTokenizerBase,
    images: np.ndarray,
    prompts: Sequence[Sequence[str]],
    batch_size: int,
) -> Iterator[tuple[int, int, np.ndarray]]:
    """Yield position in ``prompts``, position in ``images`` and probability map: float32 (side, side), 0..1.

    Images are encoded once: no prompt changes their states, so only the text branch and the decoder run again for each
    prompt. For each element of ``prompts`` the maps come in the order of the images.

    Args:
        images: (cases, side, side, 3) uint8 RGB.
        prompts: For each prompt type, one prompt per image.
    """
    segmenter.eval()
    device = segmenter.device
    precision = segmenter.precision if computes(device.type, segmenter.precision) else "fp32"
    # As its training did: a run is scored by the function that was trained, to the last bit.
    prepare_frozen(segmenter, precision)
    text = TextCache(segmenter, tokenizer, sorted({prompt for row in prompts for prompt in row}))
    indices = [text.index(row).to(device) for row in prompts]
    for start in range(0, len(images), batch_size):
        batch = torch.from_numpy(np.array(images[start : start + batch_size])).to(device)
        with autocast(device.type, precision):
            vision = segmenter.vision_states(normalise(batch))
        for row, index in enumerate(indices):
            with autocast(device.type, precision):
                logits = segmenter(text=text.take(index[start : start + batch_size]), vision=vision)
            maps = torch.sigmoid(logits[:, 0].float()).cpu().numpy()
            yield from ((row, start + at, probability) for at, probability in enumerate(maps))


def mirror_averaged_maps(
    segmenter: SegmentationModel,
    tokenizer: PreTrainedTokenizerBase,
    images: np.ndarray,
    prompts: Sequence[Sequence[str]],
    batch_size: int,
) -> Iterator[tuple[int, int, np.ndarray]]:
    """As :func:`maps_by_prompt_type`: the mean of each image's map and, turned back, its horizontal mirror image's.

    In the mirror image's prompts left and right change places.
    """
    sides = [[mirrored(prompt, sideways=True, upside_down=False) for prompt in row] for row in prompts]
    plain = maps_by_prompt_type(segmenter, tokenizer, images, prompts, batch_size)
    mirror = maps_by_prompt_type(segmenter, tokenizer, images[:, :, ::-1], sides, batch_size)
    for (row, index, one), (_, _, other) in zip(plain, mirror, strict=True):
        yield row, index, (one + other[:, ::-1]) / 2


def probability_maps(
    segmenter: SegmentationModel, tokenizer: PreTrainedTokenizerBase, images: np.ndarray, prompts: Sequence[str]
) -> Iterator[np.ndarray]:
    """Yield one probability map per image, in order, as :func:`maps_by_prompt_type` does for one prompt per image."""
    for _, _, probability in maps_by_prompt_type(segmenter, tokenizer, images, [prompts], batch_size=32):
        yield probability
