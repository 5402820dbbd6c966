"""Score a run on test cases: per_case.csv of its own dataset, of several datasets, or under each prompt type."""

import argparse
import dataclasses
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from transformers import PreTrainedTokenizerBase

from pipeline.data.prompts import EVALUATION, draw_prompt
from pipeline.data.tensors import PreparedSplit, load_split
from pipeline.evaluation.metrics import case_metrics, upsample_probability
from pipeline.evaluation.per_case import COLUMNS
from pipeline.evaluation.probability_maps import maps_by_prompt_type
from pipeline.models.backbone import load_backbone
from pipeline.models.preprocessing import load_tokenizer
from pipeline.models.segmenter import Segmenter
from pipeline.models.weights import load_weights
from pipeline.runtime.atomic import write_csv
from pipeline.runtime.errors import run_command
from pipeline.runtime.lease import compute_device
from pipeline.runtime.progress import log, track
from pipeline.training.determinism import set_mode

DATASET, PROMPT_TYPE = "test_dataset", "prompt_type"


def prompt_types(split: PreparedSplit) -> list[str]:
    """The prompt types that every case of ``split`` has, by name, then "random"; the log names the others."""
    each = [set(prompts) for prompts in split.cases["prompts"]]
    common = set.intersection(*each)
    partial = sorted(set.union(*each) - common)
    if partial:
        log(f"left out, as some cases lack them: {', '.join(partial)}")
    return [*sorted(common), *(["random"] if common - {"p0"} else [])]


def evaluation_prompts(split: PreparedSplit, prompt_type: str, seed: int) -> list[str]:
    """The fixed prompt of each case of ``split`` for ``seed``."""
    drawn = zip(split.cases["prompts"], split.cases["case"], strict=True)
    return [draw_prompt(options, prompt_type, seed, case, EVALUATION) for options, case in drawn]


def score_case(split: PreparedSplit, index: int, prompt: str, mask: np.ndarray, at_input_size: bool) -> dict[str, Any]:
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
    split: PreparedSplit,
    prompts: Sequence[Sequence[str]],
    options: argparse.Namespace,
) -> list[pd.DataFrame]:
    """For each element of ``prompts`` a table with one row per case and the columns of per_case.csv.

    Args:
        prompts: For each prompt type, one prompt per case.
        options: Of the command line: threshold, batch_size, at_input_size, and threads, which compute metrics while
            the next batch is predicted.
    """
    tables: list[list[Future]] = [[] for _ in prompts]
    with ThreadPoolExecutor(options.threads) as pool:
        maps = maps_by_prompt_type(segmenter, tokenizer, split.images, prompts, options.batch_size)
        for row, index, probability in maps:
            case = split, index, prompts[row][index], probability > options.threshold, options.at_input_size
            tables[row].append(pool.submit(score_case, *case))
        return [
            pd.DataFrame([case.result() for case in track(cases, "scored")], columns=list(COLUMNS)) for cases in tables
        ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tensors", type=Path, nargs="+", required=True, help="folders of prepared tensors")
    parser.add_argument("--prompt-type", default="random")
    parser.add_argument("--at-input-size", action="store_true", help="score at the model's input size")
    parser.add_argument(
        "--by", choices=[DATASET, PROMPT_TYPE], help=f"further column of the output; {PROMPT_TYPE}: score under each"
    )
    parser.add_argument("--backbone", type=Path, required=True, help="folder of the pretrained CLIPSeg")
    parser.add_argument("--weights", type=Path, required=True, help="weights.safetensors of the run")
    parser.add_argument("--seed", type=int, required=True, help="seed of the run, from which prompts are drawn")
    parser.add_argument("--threshold", type=float, default=0.5, help="probability above which a pixel is foreground")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--threads", type=int, default=4, help="CPU threads")
    parser.add_argument("--output", type=Path, required=True, help="the CSV to write")
    options = parser.parse_args()
    tables = []
    with compute_device() as device:
        set_mode(device, deterministic=True, threads=options.threads)
        segmenter = load_weights(options.weights, load_backbone(options.backbone)).to(device)
        tokenizer = load_tokenizer(options.backbone)
        for folder in options.tensors:
            split = load_split(folder, "test")
            types = prompt_types(split) if options.by == PROMPT_TYPE else [options.prompt_type]
            prompts = [evaluation_prompts(split, name, options.seed) for name in types]
            for name, table in zip(types, score_split(segmenter, tokenizer, split, prompts, options), strict=True):
                tables.append(table.assign(**{DATASET: folder.name, PROMPT_TYPE: name}))
    columns = [*([options.by] if options.by else []), *COLUMNS]
    write_csv(options.output, pd.concat(tables, ignore_index=True)[columns])


if __name__ == "__main__":
    run_command(main)
