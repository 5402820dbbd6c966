"""The frozen part of the text branch, computed once for each distinct prompt."""

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from pipeline.models.interface import SegmentationModel
from pipeline.models.preprocessing import crop_to_longest, tokenise

PROMPTS_PER_PASS = 256


class TextCache:
    """What :meth:`SegmentationModel.text_prefix` gives for a fixed list of prompts, on the segmenter's device.

    Args:
        segmenter: decides how much of the text branch is frozen, and whether a prompt is read at all.
        prompts: distinct strings.
    """

    def __init__(self, segmenter: SegmentationModel, tokenizer: PreTrainedTokenizerBase, prompts: Sequence[str]):
        self._position = {prompt: index for index, prompt in enumerate(prompts)}
        self._prefix: dict[str, Tensor] = {}
        if not segmenter.context:
            return
        input_ids = crop_to_longest(tokenise(tokenizer, prompts, segmenter.context)[0]).to(segmenter.device)
        passes = [segmenter.text_prefix(part) for part in input_ids.split(PROMPTS_PER_PASS)]
        self._prefix = {key: torch.cat([part[key] for part in passes]) for key in passes[0]}

    def index(self, prompts: Sequence[str]) -> Tensor:
        """Positions of ``prompts`` in the cache, (len(prompts),) int64 on the CPU."""
        return torch.tensor([self._position[prompt] for prompt in prompts])

    def take(self, index: Tensor) -> dict[str, Tensor]:
        """The ``text`` argument of the segmenter's forward for the prompts at ``index``."""
        return {key: value[index] for key, value in self._prefix.items()}
