"""Score a run under each prompt type that its dataset has: one row per prompt type and test case.

Images are encoded once: no adapter of the vision branch depends on the prompt, so only the text branch and the decoder
run again for each type.
"""

import argparse
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from transformers import PreTrainedTokenizerBase

from pipeline.data.tensors import PreparedSplit, load_split
from pipeline.evaluation.per_case import COLUMNS
from pipeline.evaluation.scoring import add_scoring_options, evaluation_prompts, score_case, trained_run
from pipeline.models.preprocessing import normalise
from pipeline.models.segmenter import Segmenter
from pipeline.models.textcache import TextCache
from pipeline.runtime.atomic import write_csv
from pipeline.runtime.errors import run_command
from pipeline.runtime.progress import log, track


def prompt_types(split: PreparedSplit) -> list[str]:
    """The prompt types that every case of ``split`` has, by name, then "random"; the log names the others."""
    each = [set(prompts) for prompts in split.cases["prompts"]]
    common = set.intersection(*each)
    partial = sorted(set.union(*each) - common)
    if partial:
        log(f"left out, as some cases lack them: {', '.join(partial)}")
    return [*sorted(common), *(["random"] if common - {"p0"} else [])]


@torch.inference_mode()
def _masks(
    segmenter: Segmenter,
    tokenizer: PreTrainedTokenizerBase,
    images: np.ndarray,
    prompts: Sequence[Sequence[str]],
    threshold: float,
    batch_size: int,
) -> Iterator[tuple[int, int, np.ndarray]]:
    """Position in ``prompts``, position in ``images`` and predicted mask, bool (side, side)."""
    segmenter.eval()
    device = segmenter.clipseg.clip.text_projection.weight.device
    text = TextCache(segmenter, tokenizer, sorted({prompt for row in prompts for prompt in row}))
    indices = [text.index(row).to(device) for row in prompts]
    for start in range(0, len(images), batch_size):
        batch = torch.from_numpy(np.array(images[start : start + batch_size])).to(device)
        vision = segmenter.vision_states(normalise(batch))
        for row, index in enumerate(indices):
            logits = segmenter(text=text.take(index[start : start + batch_size]), vision=vision)
            masks = (torch.sigmoid(logits[:, 0]).float() > threshold).cpu().numpy()
            yield from ((row, start + at, mask) for at, mask in enumerate(masks))


def score_prompt_types(
    segmenter: Segmenter,
    tokenizer: PreTrainedTokenizerBase,
    split: PreparedSplit,
    seed: int,
    threshold: float,
    batch_size: int,
    threads: int,
) -> pd.DataFrame:
    """Score ``split`` under each of :func:`prompt_types`.

    Args:
        seed: Seed of the run; decides which wording a case gets where a type has several, and which type for "random",
            as in :func:`pipeline.data.prompts.draw_prompt`.
        threshold: Probability above which a pixel is foreground.
        threads: Number of threads that compute metrics.

    Returns:
        One row per prompt type and case, types one after the other: prompt_type and the columns of per_case.csv.
    """
    types = prompt_types(split)
    prompts = [evaluation_prompts(split, name, seed) for name in types]
    scored = {}
    with ThreadPoolExecutor(threads) as pool:
        for row, index, mask in _masks(segmenter, tokenizer, split.images, prompts, threshold, batch_size):
            scored[row, index] = pool.submit(score_case, split, index, prompts[row][index], mask)
        rows = [
            {"prompt_type": types[row], **scored[row, index].result()}
            for row, index in track(sorted(scored), "scored", total=len(scored))
        ]
    return pd.DataFrame(rows, columns=["prompt_type", *COLUMNS])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tensors", type=Path, required=True, help="folder of prepared tensors")
    add_scoring_options(parser, extra_column="prompt_type")
    arguments = parser.parse_args()
    split = load_split(arguments.tensors, "test")
    settings = arguments.seed, arguments.threshold, arguments.batch_size, arguments.threads
    with trained_run(arguments.backbone, arguments.weights, arguments.threads) as (segmenter, tokenizer):
        write_csv(arguments.output, score_prompt_types(segmenter, tokenizer, split, *settings))


if __name__ == "__main__":
    run_command(main)
