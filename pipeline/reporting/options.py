"""Command-line options that tables, figures and pages share, and display names."""

import argparse
from collections.abc import Mapping
from pathlib import Path

from pipeline.evaluation.readers import AVERAGE
from pipeline.evaluation.runs import add_run_options
from pipeline.runtime.options import json_value

REPORTED_ONLY = {"cris": "CRIS", "san": "SAN", "imedsam_lora": "I-MedSAM (LoRA)"}
"""Methods of the paper's table that are other architectures: they appear with their reported numbers only."""
_FIXED = {AVERAGE: "Average", **REPORTED_ONLY}


def label(labels: Mapping[str, str], key: str) -> str:
    """The display name of a variant, method or dataset: as ``labels`` (``--labels``) has it, else ``key`` itself."""
    return labels.get(key) or _FIXED.get(key, key)


def add_list(parser: argparse.ArgumentParser, option: str, content: str, required: bool = True) -> None:
    """Add an option whose value is a JSON list of ``content``."""
    parser.add_argument(option, type=json_value(option, list), required=required, help=f"JSON list: {content}")


def add_variants(parser: argparse.ArgumentParser) -> None:
    """Add ``--variants``."""
    add_list(parser, "--variants", "variants in order")


def add_datasets(parser: argparse.ArgumentParser) -> None:
    """Add ``--datasets``."""
    add_list(parser, "--datasets", "datasets in order")


def add_labels(parser: argparse.ArgumentParser) -> None:
    """Add ``--labels``."""
    parser.add_argument(
        "--labels",
        type=json_value("--labels", dict),
        default={},
        help="JSON object: display names of variants and datasets",
    )


def add_output(parser: argparse.ArgumentParser, written: str) -> None:
    """Add ``--note`` and ``--output``; ``written`` tells what the path is."""
    parser.add_argument("--note", default="", help="provenance that the result shows; may be empty")
    parser.add_argument("--output", type=Path, required=True, help=written)


def add_figure_options(parser: argparse.ArgumentParser) -> None:
    """Add what every figure has: ``--variants``, ``--labels``, ``--note`` and ``--output``, a path without ending."""
    add_variants(parser)
    add_labels(parser)
    add_output(parser, "path without ending: .pdf and .png are written")


def add_table_options(parser: argparse.ArgumentParser) -> None:
    """Add what every table has: ``--labels``, ``--note`` and ``--output``, a path without ending."""
    add_labels(parser)
    add_output(parser, "path without ending: .csv, .md and .tex are written")


def add_dsc_options(parser: argparse.ArgumentParser) -> None:
    """Add what a table of DSC by variant and dataset has: the runs, ``--dsc``, ``--datasets``, ``--variants``, ..."""
    add_run_options(parser)
    parser.add_argument("--dsc", required=True, help="dsc.csv, or ablations/{family}.csv: the scores of these runs")
    add_datasets(parser)
    add_variants(parser)
    add_table_options(parser)


def add_scores_options(parser: argparse.ArgumentParser, scores: str) -> None:
    """Add what a table made from further per-case scores of runs has; ``scores`` says which scores."""
    add_run_options(parser)
    parser.add_argument("--scores", type=Path, required=True, help=f"folder of the scores {scores}, laid out as runs/")
    add_table_options(parser)
