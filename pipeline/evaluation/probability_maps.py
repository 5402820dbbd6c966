"""A segmenter's foreground probabilities for images and prompts."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from pipeline.models.preprocessing import normalise
from pipeline.models.segmenter import Segmenter
from pipeline.models.textcache import TextCache


@torch.inference_mode()
def probability_maps(
    segmenter: Segmenter,
    tokenizer: PreTrainedTokenizerBase,
    images: np.ndarray,
    prompts: Sequence[str],
    batch_size: int = 32,
) -> Iterator[np.ndarray]:
    """Yield one probability map per image, in order: float32 (side, side), 0..1.

    Args:
        images: (cases, side, side, 3) uint8 RGB.
        prompts: One per image.
    """
    segmenter.eval()
    device = segmenter.clipseg.clip.text_projection.weight.device
    text = TextCache(segmenter, tokenizer, sorted(set(prompts)))
    index = text.index(prompts).to(device)
    for start in range(0, len(images), batch_size):
        batch = torch.from_numpy(np.array(images[start : start + batch_size])).to(device)
        logits = segmenter(normalise(batch), text=text.take(index[start : start + batch_size]))
        yield from torch.sigmoid(logits[:, 0]).float().cpu().numpy()
