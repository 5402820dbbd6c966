"""dsc.csv: one row per run, computed from its per-case scores."""

import argparse
from collections.abc import Iterable

import pandas as pd

from pipeline.evaluation.per_case import SCORES, prompt_sd, read_per_case, read_per_prompt, summarise
from pipeline.evaluation.runs import IDENTITY, Run, run_of
from pipeline.runtime.atomic import write_csv
from pipeline.runtime.errors import run_command
from pipeline.runtime.options import json_value

COLUMNS = [*IDENTITY, "cases", *SCORES, "misses", "cases_with_target", "dsc_with_target", "prompt_sd"]


def collect(runs: Iterable[Run]) -> pd.DataFrame:
    """Summarise runs.

    Returns:
        One row per run, in the order given, columns :data:`COLUMNS`: those of
        :func:`pipeline.evaluation.per_case.summarise` and :func:`pipeline.evaluation.per_case.prompt_sd`.

    Raises:
        PipelineError: scores of a run are missing or damaged.
    """
    rows = [
        run._asdict() | summarise(read_per_case(run.folder)) | {"prompt_sd": prompt_sd(read_per_prompt(run.folder))}
        for run in runs
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", required=True, help="results folder, in which runs/ lies")
    parser.add_argument("--datasets", type=json_value("--datasets", list), required=True, help="JSON list")
    seeds = "JSON object: seeds of each variant, in the table's order"
    parser.add_argument("--seeds", type=json_value("--seeds", dict), required=True, help=seeds)
    parser.add_argument("--output", required=True, help="the CSV to write")
    arguments = parser.parse_args()
    runs = [
        run_of(arguments.results, dataset, variant, seed)
        for dataset in arguments.datasets
        for variant, seeds in arguments.seeds.items()
        for seed in seeds
    ]
    write_csv(arguments.output, collect(runs))


if __name__ == "__main__":
    run_command(main)
