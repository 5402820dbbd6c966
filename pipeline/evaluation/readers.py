"""What tables and figures read: result tables, runs, labels; and how their command lines take them."""

import argparse
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.evaluation.per_case import read_per_case
from pipeline.evaluation.runs import Run, add_run_options, json_option
from pipeline.runtime.errors import PipelineError

AVERAGE = "average"
DATASET_LABELS = {
    "kvasir_seg": "Kvasir-SEG",
    "clinicdb": "CVC-ClinicDB",
    "bkai": "BKAI",
    "isic16": "ISIC 2016",
    "busi": "BUSI",
    AVERAGE: "Average",
}
FIGURE_SUFFIXES = "the PNG goes beside the PDF"
TABLE_SUFFIXES = "without ending: .csv, .md and .tex are written"
REPORTED_ONLY = {"cris": "CRIS", "san": "SAN", "imedsam_lora": "I-MedSAM (LoRA)"}
"""Methods of the paper's table that are other architectures: they appear with their reported numbers alone."""


def read_table(path: str | Path, columns: Iterable[str]) -> pd.DataFrame:
    """Read a CSV that has at least ``columns``; other columns are kept.

    Raises:
        PipelineError: the file is absent, empty, not CSV, or lacks a column.
    """
    path = Path(path)
    try:
        table = pd.read_csv(path)
    except FileNotFoundError:
        raise PipelineError(f"{path}: no such file; run the rule that makes it, or mend the path") from None
    except (pd.errors.EmptyDataError, pd.errors.ParserError, UnicodeDecodeError) as error:
        raise PipelineError(f"{path}: not a readable CSV ({error}); delete it and run its rule again") from None
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise PipelineError(
            f"{path}: column {', '.join(missing)} is missing (found: {', '.join(map(str, table.columns))}); "
            "delete the file and run its rule again"
        )
    return table


def read_dsc(path: str | Path) -> pd.DataFrame:
    """dsc.csv: one row a run, DSC in 0..1."""
    table = read_table(path, ["dataset", "variant", "seed", "dsc"])
    twice = table[table.duplicated(["dataset", "variant", "seed"])]
    if len(twice):
        row = twice.iloc[0]
        raise PipelineError(f"{path}: {row.dataset}/{row.variant}/seed{row.seed} stands there twice; make it anew")
    return table


def read_cost(path: str | Path) -> pd.DataFrame:
    """cost.csv by variant; columns beyond the count of trained parameters may be absent."""
    return read_table(path, ["variant", "trainable_parameters"]).drop_duplicates("variant").set_index("variant")


def read_reported(path: str | Path) -> pd.DataFrame:
    """reported.csv: method, dataset, metric, value (points or pixels), trainable_parameters, source."""
    return read_table(path, ["method", "dataset", "metric", "value", "trainable_parameters", "source"])


def read_cases(runs: Sequence[Run]) -> pd.DataFrame:
    """The per-case scores of ``runs``: dataset, variant, seed and the columns of per_case.csv (DSC and IoU in 0..1)."""
    tables = [read_per_case(run.folder).assign(dataset=run.dataset, variant=run.variant, seed=run.seed) for run in runs]
    return pd.concat(tables, ignore_index=True)


def dataset_order(datasets: Iterable[str]) -> list[str]:
    """``datasets`` once each, in the study's order, unknown ones last by name."""
    known = list(DATASET_LABELS)
    return sorted(set(datasets), key=lambda name: (known.index(name) if name in known else len(known), name))


def dataset_label(dataset: str) -> str:
    """The name of ``dataset`` in tables and figures."""
    return DATASET_LABELS.get(dataset, dataset)


def variant_label(labels: Mapping[str, str], variant: str) -> str:
    """The name of ``variant`` in tables and figures."""
    return labels.get(variant) or REPORTED_ONLY.get(variant, variant)


def json_value(option: str, kind: type) -> Callable[[str], Any]:
    """An argparse type: JSON text of type ``kind`` (list or dict), with an error that names ``option``."""
    return lambda text: json_option(option, text, kind)


def add_output(parser: argparse.ArgumentParser, suffixes: str) -> None:
    """Options that every table and figure has."""
    parser.add_argument("--note", default="", help="provenance that the result shows; may be empty")
    parser.add_argument("--output", required=True, help=f"path of the result; {suffixes}")


def add_figure_options(parser: argparse.ArgumentParser) -> None:
    """Options that every figure of variants has."""
    add_variants(parser)
    add_labels(parser)
    add_output(parser, FIGURE_SUFFIXES)


def add_scores_options(parser: argparse.ArgumentParser, scores: str) -> None:
    """Options of a table that is made from further per-case scores of runs; ``scores`` says which."""
    add_run_options(parser)
    parser.add_argument("--scores", required=True, help=f"folder of the scores {scores}, laid out as runs/")
    add_labels(parser)
    add_output(parser, TABLE_SUFFIXES)


def add_labels(parser: argparse.ArgumentParser) -> None:
    """``--labels``."""
    parser.add_argument(
        "--labels",
        type=json_value("--labels", dict),
        default={},
        help="JSON object: name of each variant",
    )


def add_variants(parser: argparse.ArgumentParser) -> None:
    """``--variants``."""
    parser.add_argument(
        "--variants", type=json_value("--variants", list), required=True, help="JSON list: variants in their order"
    )
