"""Score a trained run on the cases of a split; what the score_* command lines share."""

import argparse
import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from transformers import PreTrainedTokenizerBase

from pipeline.data.prompts import EVALUATION, draw_prompt
from pipeline.data.tensors import PreparedSplit
from pipeline.evaluation.metrics import case_metrics, upsample_probability
from pipeline.evaluation.per_case import COLUMNS
from pipeline.evaluation.probability_maps import maps_by_prompt_type
from pipeline.models.backbone import load_backbone
from pipeline.models.preprocessing import load_tokenizer
from pipeline.models.segmenter import Segmenter
from pipeline.models.weights import load_weights
from pipeline.runtime.lease import compute_device
from pipeline.runtime.progress import track
from pipeline.training.determinism import set_mode


def add_scoring_options(parser: argparse.ArgumentParser, extra_column: str = "") -> None:
    """Add the options that every score_* command line has.

    Args:
        extra_column: Column of the output before those of per_case.csv.
    """
    parser.add_argument("--backbone", type=Path, required=True, help="folder of the pretrained CLIPSeg")
    parser.add_argument("--weights", type=Path, required=True, help="weights.safetensors of the run")
    parser.add_argument("--seed", type=int, required=True, help="seed of the run, from which prompts are drawn")
    parser.add_argument("--threshold", type=float, default=0.5, help="probability above which a pixel is foreground")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--threads", type=int, default=4, help="CPU threads")
    columns = f"{extra_column} and the columns of per_case.csv" if extra_column else "per_case.csv"
    parser.add_argument("--output", type=Path, required=True, help=f"the CSV to write: {columns}")


@contextlib.contextmanager
def trained_run(options: argparse.Namespace) -> Iterator[Callable[..., list[pd.DataFrame]]]:
    """Yield :func:`score_split` of the run that ``options`` name, which takes the split and what follows it.

    It computes in deterministic mode, on the card that this process leases or on the CPU.
    """
    with compute_device() as device:
        set_mode(device, deterministic=True, threads=options.threads)
        segmenter = load_weights(options.weights, load_backbone(options.backbone)).to(device)
        yield functools.partial(score_split, segmenter, load_tokenizer(options.backbone), options)


def evaluation_prompts(split: PreparedSplit, prompt_type: str, seed: int) -> list[str]:
    """The fixed prompt of each case of ``split`` for ``seed``."""
    drawn = zip(split.cases["prompts"], split.cases["case"], strict=True)
    return [draw_prompt(options, prompt_type, seed, case, EVALUATION) for options, case in drawn]


def score_case(
    split: PreparedSplit, index: int, prompt: str, mask: np.ndarray, at_input_size: bool = False
) -> dict[str, Any]:
    """The row of per_case.csv for the case at ``index``.

    Args:
        mask: The prediction at the model's input size, bool (S, S).
        at_input_size: Compare with the target resized to the input (nearest neighbour). Otherwise the prediction is
            resized to the original size (nearest-exact) and compared there. HD95 is in pixels of that size.
    """
    if at_input_size:
        target = np.asarray(split.masks[index]) > 0
    else:
        target = split.target(index)
        mask = upsample_probability(mask, *target.shape)
    row = {"case": split.cases["case"].iloc[index], "prompt": prompt}
    return row | dataclasses.asdict(case_metrics(mask, target))


def score_split(
    segmenter: Segmenter,
    tokenizer: PreTrainedTokenizerBase,
    options: argparse.Namespace,
    split: PreparedSplit,
    prompts: Sequence[Sequence[str]],
    at_input_size: bool = False,
) -> list[pd.DataFrame]:
    """For each element of ``prompts`` a table with one row per case and the columns of per_case.csv.

    Args:
        options: Of :func:`add_scoring_options`; threads compute metrics while the next batch is predicted.
        prompts: For each prompt type, one prompt per case.
        at_input_size: As in :func:`score_case`.
    """
    tables: list[list[Future]] = [[] for _ in prompts]
    with ThreadPoolExecutor(options.threads) as pool:
        maps = maps_by_prompt_type(segmenter, tokenizer, split.images, prompts, options.batch_size)
        for row, index, probability in maps:
            case = split, index, prompts[row][index], probability > options.threshold, at_input_size
            tables[row].append(pool.submit(score_case, *case))
        return [
            pd.DataFrame([case.result() for case in track(cases, "scored")], columns=list(COLUMNS)) for cases in tables
        ]
