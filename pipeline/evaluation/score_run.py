"""Score a run on its dataset's test cases, at their original size or at the model's input size: per_case.csv."""

import argparse
from pathlib import Path

from pipeline.data.tensors import load_split
from pipeline.evaluation.scoring import add_scoring_options, evaluation_prompts, trained_run
from pipeline.runtime.atomic import write_csv
from pipeline.runtime.errors import run_command


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tensors", type=Path, required=True, help="folder of prepared tensors")
    parser.add_argument("--prompt-type", default="random")
    parser.add_argument("--at-input-size", action="store_true", help="score at the model's input size")
    add_scoring_options(parser)
    arguments = parser.parse_args()
    split = load_split(arguments.tensors, "test")
    prompts = evaluation_prompts(split, arguments.prompt_type, arguments.seed)
    with trained_run(arguments) as score:
        (scores,) = score(split, [prompts], arguments.at_input_size)
    write_csv(arguments.output, scores)


if __name__ == "__main__":
    run_command(main)
