"""Score a run on the test cases of several datasets (cross-dataset transfer): one row per test dataset and case."""

import argparse
from pathlib import Path

import pandas as pd

from pipeline.data.tensors import load_split
from pipeline.evaluation.scoring import add_scoring_options, evaluation_prompts, trained_run
from pipeline.runtime.atomic import write_csv
from pipeline.runtime.errors import run_command
from pipeline.runtime.options import json_value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, required=True, help="results folder, in which tensors/ lies")
    parser.add_argument("--datasets", type=json_value("--datasets", list), required=True, help="JSON list")
    parser.add_argument("--prompt-type", default="random")
    add_scoring_options(parser, extra_column="test_dataset")
    arguments = parser.parse_args()
    tables = []
    with trained_run(arguments) as score:
        for dataset in arguments.datasets:
            split = load_split(arguments.results / "tensors" / dataset, "test")
            prompts = evaluation_prompts(split, arguments.prompt_type, arguments.seed)
            (scores,) = score(split, [prompts])
            scores.insert(0, "test_dataset", dataset)
            tables.append(scores)
    write_csv(arguments.output, pd.concat(tables, ignore_index=True))


if __name__ == "__main__":
    run_command(main)
