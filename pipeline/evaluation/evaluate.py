"""Score a run on the test cases at their original size: per_case.csv and summary.json."""

import argparse
import dataclasses
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import torch

from pipeline.data.prompts import EVALUATION, draw_prompt
from pipeline.data.tensors import PreparedSplit, load_split
from pipeline.evaluation.metrics import case_metrics, upsample_probability
from pipeline.evaluation.prediction import predict
from pipeline.evaluation.summary import summarise
from pipeline.models.backbone import load_backbone
from pipeline.models.inputs import load_tokenizer
from pipeline.models.weights import load_weights
from pipeline.runtime.atomic import write_csv, write_json
from pipeline.runtime.errors import run_command
from pipeline.runtime.lease import compute_device
from pipeline.runtime.progress import track

COLUMNS = ["case", "prompt", "dsc", "iou", "hd95", "target_pixels", "predicted_pixels"]


def evaluation_prompts(split: PreparedSplit, prompt_type: str, seed: int) -> list[str]:
    """The fixed prompt of each case of ``split`` for ``seed``."""
    drawn = zip(split.cases["prompts"], split.cases["case"], strict=True)
    return [draw_prompt(options, prompt_type, seed, case, EVALUATION) for options, case in drawn]


def score_split(
    segmenter, tokenizer, split: PreparedSplit, prompts: Sequence[str], threshold: float, batch_size: int, threads: int
) -> pd.DataFrame:
    """One row a case with the columns of per_case.csv; metrics in ``threads`` threads beside the forward passes."""

    def score(index: int, probability) -> dict:
        target = split.target(index)
        prediction = upsample_probability(probability > threshold, *target.shape)
        row = {"case": split.cases["case"].iloc[index], "prompt": prompts[index]}
        return row | dataclasses.asdict(case_metrics(prediction, target))

    with ThreadPoolExecutor(threads) as pool:
        maps = predict(segmenter, tokenizer, split.images, prompts, batch_size)
        rows = [pool.submit(score, index, probability) for index, probability in enumerate(maps)]
        return pd.DataFrame([row.result() for row in track(rows, "scored")], columns=COLUMNS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tensors", type=Path, required=True, help="folder of prepared tensors")
    parser.add_argument("--backbone", type=Path, required=True, help="folder of the pretrained CLIPSeg")
    parser.add_argument("--weights", type=Path, required=True, help="weights.safetensors of the run")
    parser.add_argument("--prompt-type", default="random")
    parser.add_argument("--seed", type=int, required=True, help="seed of the run, from which prompts are drawn")
    parser.add_argument("--threshold", type=float, default=0.5, help="probability above which a pixel is foreground")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--threads", type=int, default=4, help="CPU threads")
    parser.add_argument("--output", type=Path, required=True, help="folder of the run")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    split = load_split(arguments.tensors, "test")
    with compute_device() as device:
        segmenter = load_weights(arguments.weights, load_backbone(arguments.backbone)).to(device)
        tokenizer = load_tokenizer(arguments.backbone)
        prompts = evaluation_prompts(split, arguments.prompt_type, arguments.seed)
        per_case = score_split(
            segmenter, tokenizer, split, prompts, arguments.threshold, arguments.batch_size, arguments.threads
        )
    write_csv(arguments.output / "per_case.csv", per_case)
    write_json(arguments.output / "summary.json", summarise(per_case))


if __name__ == "__main__":
    run_command(main)
