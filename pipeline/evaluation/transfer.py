"""Score a run on every dataset's test cases: cross-dataset transfer, one row a test dataset and case."""

import argparse
import json
from pathlib import Path

import pandas as pd

from pipeline.data.tensors import load_split
from pipeline.evaluation.evaluate import evaluation_prompts, score_split
from pipeline.models.backbone import load_backbone
from pipeline.models.inputs import load_tokenizer
from pipeline.models.weights import load_weights
from pipeline.runtime.atomic import write_csv
from pipeline.runtime.errors import run_command
from pipeline.runtime.lease import compute_device
from pipeline.training.determinism import set_mode


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tensors", type=json.loads, required=True, help="tensors folder of each dataset, JSON object")
    parser.add_argument("--backbone", type=Path, required=True, help="folder of the pretrained CLIPSeg")
    parser.add_argument("--weights", type=Path, required=True, help="weights.safetensors of the run")
    parser.add_argument("--prompt-type", default="random")
    parser.add_argument("--seed", type=int, required=True, help="seed of the run, from which prompts are drawn")
    parser.add_argument("--threshold", type=float, default=0.5, help="probability above which a pixel is foreground")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--threads", type=int, default=4, help="CPU threads")
    parser.add_argument("--output", type=Path, required=True, help="CSV: test_dataset and the columns of per_case.csv")
    arguments = parser.parse_args()
    tables = []
    with compute_device() as device:
        set_mode(device, deterministic=True, threads=arguments.threads)
        segmenter = load_weights(arguments.weights, load_backbone(arguments.backbone)).to(device)
        tokenizer = load_tokenizer(arguments.backbone)
        for dataset, folder in arguments.tensors.items():
            split = load_split(folder, "test")
            prompts = evaluation_prompts(split, arguments.prompt_type, arguments.seed)
            scores = score_split(
                segmenter, tokenizer, split, prompts, arguments.threshold, arguments.batch_size, arguments.threads
            )
            scores.insert(0, "test_dataset", dataset)
            tables.append(scores)
    write_csv(arguments.output, pd.concat(tables, ignore_index=True))


if __name__ == "__main__":
    run_command(main)
