"""What goes into the model: normalised images and token ids."""

import functools
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from transformers import CLIPTokenizer, PreTrainedTokenizerBase

from pipeline.runtime.errors import PipelineError

IMAGE_MEAN = (0.485, 0.456, 0.406)
IMAGE_STD = (0.229, 0.224, 0.225)


def load_tokenizer(folder: str | Path) -> PreTrainedTokenizerBase:
    """CLIP's tokenizer from a backbone's folder.

    Raises:
        PipelineError: the folder lacks its files, or they are broken.
    """
    missing = [name for name in ("vocab.json", "merges.txt") if not (Path(folder) / name).is_file()]
    if missing:
        raise PipelineError(f"{folder}: no {' and no '.join(missing)} for the tokenizer; fetch the backbone again")
    try:
        return CLIPTokenizer.from_pretrained(str(folder), local_files_only=True)
    except Exception as error:
        # What a broken file raises depends on where it is broken.
        raise PipelineError(f"{folder}: no CLIP tokenizer ({error!r:.300}); fetch the backbone again") from None


def normalise(images: Tensor) -> Tensor:
    """uint8 (batch, height, width, 3) to float32 (batch, 3, height, width) with ImageNet's mean and deviation."""
    mean, scale = _statistics(images.device)
    return ((images - mean) * scale).permute(0, 3, 1, 2).contiguous()


@functools.cache
def _statistics(device: torch.device) -> tuple[Tensor, Tensor]:
    """Mean and reciprocal deviation of uint8 values, (3,) each. Copied to ``device`` once: a copy waits for it."""
    with torch.inference_mode(False):
        return torch.tensor(IMAGE_MEAN, device=device) * 255, 1 / (torch.tensor(IMAGE_STD, device=device) * 255)


def tokenise(tokenizer: PreTrainedTokenizerBase, prompts: Sequence[str], context: int = 77) -> tuple[Tensor, Tensor]:
    """Token ids and padding mask, each (prompts, context) int64, padded and cut to ``context`` as the protocol does."""
    encoded = tokenizer(list(prompts), padding="max_length", truncation=True, max_length=context, return_tensors="pt")
    return encoded["input_ids"], encoded["attention_mask"]


def crop_to_longest(input_ids: Tensor) -> Tensor:
    """Drop the columns after the last prompt's EOS: under the causal mask they never influence a text feature."""
    longest = int(input_ids.argmax(dim=-1).max()) + 1
    return input_ids[:, :longest]
