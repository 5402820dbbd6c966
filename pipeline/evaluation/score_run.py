"""Score a run on the test cases, at their original size or at the model's input size: per_case.csv and summary.json."""

import argparse
import dataclasses
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.data.prompts import EVALUATION, draw_prompt
from pipeline.data.tensors import PreparedSplit, load_split
from pipeline.evaluation.metrics import case_metrics, upsample_probability
from pipeline.evaluation.per_case import COLUMNS, summarise
from pipeline.evaluation.probability_maps import predict
from pipeline.evaluation.trained import add_scoring_options, trained_run
from pipeline.runtime.atomic import write_csv, write_json
from pipeline.runtime.errors import run_command
from pipeline.runtime.progress import track


def evaluation_prompts(split: PreparedSplit, prompt_type: str, seed: int) -> list[str]:
    """The fixed prompt of each case of ``split`` for ``seed``."""
    drawn = zip(split.cases["prompts"], split.cases["case"], strict=True)
    return [draw_prompt(options, prompt_type, seed, case, EVALUATION) for options, case in drawn]


def score_case(
    split: PreparedSplit, index: int, prompt: str, mask: np.ndarray, at_input_size: bool = False
) -> dict[str, Any]:
    """The row of per_case.csv of the case at ``index``.

    Args:
        mask: the prediction at the model's input size, bool (S, S).
        at_input_size: compare with the target resized to the input (nearest neighbour); else the prediction is resized
            to the original size (nearest-exact) and compared there. HD95 is in pixels of the one or the other.
    """
    if at_input_size:
        target = np.asarray(split.masks[index]) > 0
    else:
        target = split.target(index)
        mask = upsample_probability(mask, *target.shape)
    row = {"case": split.cases["case"].iloc[index], "prompt": prompt}
    return row | dataclasses.asdict(case_metrics(mask, target))


def score_split(
    segmenter,
    tokenizer,
    split: PreparedSplit,
    prompts: Sequence[str],
    threshold: float,
    batch_size: int,
    threads: int,
    at_input_size: bool = False,
) -> pd.DataFrame:
    """One row a case with the columns of per_case.csv; metrics in ``threads`` threads beside the forward passes."""
    with ThreadPoolExecutor(threads) as pool:
        maps = predict(segmenter, tokenizer, split.images, prompts, batch_size)
        rows = [
            pool.submit(score_case, split, index, prompts[index], probability > threshold, at_input_size)
            for index, probability in enumerate(maps)
        ]
        return pd.DataFrame([row.result() for row in track(rows, "scored")], columns=list(COLUMNS))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tensors", type=Path, required=True, help="folder of prepared tensors")
    parser.add_argument("--prompt-type", default="random")
    add_scoring_options(parser)
    parser.add_argument(
        "--at-input-size", action="store_true", help="score at the model's input size, not at the original one"
    )
    parser.add_argument("--output", type=Path, required=True, help="folder of the scores")
    arguments = parser.parse_args()
    split = load_split(arguments.tensors, "test")
    with trained_run(arguments) as (segmenter, tokenizer):
        prompts = evaluation_prompts(split, arguments.prompt_type, arguments.seed)
        per_case = score_split(
            segmenter,
            tokenizer,
            split,
            prompts,
            arguments.threshold,
            arguments.batch_size,
            arguments.threads,
            arguments.at_input_size,
        )
    write_csv(arguments.output / "per_case.csv", per_case)
    write_json(arguments.output / "summary.json", summarise(per_case))


if __name__ == "__main__":
    run_command(main)
