"""Score a run under each prompt type that its dataset has: one row per prompt type and test case."""

import argparse
from pathlib import Path

import pandas as pd

from pipeline.data.tensors import PreparedSplit, load_split
from pipeline.evaluation.scoring import add_scoring_options, evaluation_prompts, trained_run
from pipeline.runtime.atomic import write_csv
from pipeline.runtime.errors import run_command
from pipeline.runtime.progress import log


def prompt_types(split: PreparedSplit) -> list[str]:
    """The prompt types that every case of ``split`` has, by name, then "random"; the log names the others."""
    each = [set(prompts) for prompts in split.cases["prompts"]]
    common = set.intersection(*each)
    partial = sorted(set.union(*each) - common)
    if partial:
        log(f"left out, as some cases lack them: {', '.join(partial)}")
    return [*sorted(common), *(["random"] if common - {"p0"} else [])]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tensors", type=Path, required=True, help="folder of prepared tensors")
    add_scoring_options(parser, extra_column="prompt_type")
    arguments = parser.parse_args()
    split = load_split(arguments.tensors, "test")
    types = prompt_types(split)
    prompts = [evaluation_prompts(split, name, arguments.seed) for name in types]
    with trained_run(arguments) as score:
        tables = score(split, prompts)
    for name, table in zip(types, tables, strict=True):
        table.insert(0, "prompt_type", name)
    write_csv(arguments.output, pd.concat(tables, ignore_index=True))


if __name__ == "__main__":
    run_command(main)
