"""Score a run on every dataset's test cases: cross-dataset transfer, one row a test dataset and case."""

import argparse
import json
from pathlib import Path

import pandas as pd

from pipeline.data.tensors import load_split
from pipeline.evaluation.score_run import evaluation_prompts, score_split
from pipeline.evaluation.trained import add_scoring_options, trained_run
from pipeline.runtime.atomic import write_csv
from pipeline.runtime.errors import run_command


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tensors", type=json.loads, required=True, help="tensors folder of each dataset, JSON object")
    parser.add_argument("--prompt-type", default="random")
    add_scoring_options(parser)
    parser.add_argument("--output", type=Path, required=True, help="CSV: test_dataset and the columns of per_case.csv")
    arguments = parser.parse_args()
    tables = []
    with trained_run(arguments) as (segmenter, tokenizer):
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
