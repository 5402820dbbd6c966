"""Fail if a row of regression.json that must reproduce does not: ``python -m pipeline.evaluation.verdict FILE``."""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.evaluation.reproduction import DIFFERS, NOT_RUN
from pipeline.runtime.errors import PipelineError, run_command


def _describe(row: Mapping[str, Any]) -> str:
    return (
        f"  {row['variant']} on {row['dataset']}: measured {row['value']:.2f}, reported {row['reported']:.2f} "
        f"({row['source']}), difference {row['difference']:+.2f}, tolerance {row['tolerance']:.2f}"
    )


def pronounce(rows: Sequence[Mapping[str, Any]], datasets: Sequence[str], place: str) -> None:
    """Say on stderr how the rows of ``place`` came out.

    Args:
        rows: From :func:`pipeline.evaluation.reproduction.judge`.
        datasets: The study's datasets; a row that must reproduce and has no run on one of them is named.
        place: The file to look into.

    Raises:
        PipelineError: rows that must reproduce differ; the message lists them.
    """
    counts: dict[str, int] = {}
    for row in rows:
        counts[row["verdict"]] = counts.get(row["verdict"], 0) + 1
    print(f"{len(rows)} reported rows: " + ", ".join(f"{counts[name]} {name}" for name in counts), file=sys.stderr)
    for row in rows:
        if row["must_reproduce"] and row["verdict"] == NOT_RUN and row["dataset"] in datasets:
            print(f"  not run, so not shown to reproduce: {row['variant']} on {row['dataset']}", file=sys.stderr)
    failed = [row for row in rows if row["must_reproduce"] and row["verdict"] == DIFFERS]
    if failed:
        lines = "\n".join(map(_describe, failed))
        rows_do = "1 row that must reproduce does" if len(failed) == 1 else f"{len(failed)} rows that must reproduce do"
        raise PipelineError(f"{rows_do} not (DSC points; all rows: {place})\n{lines}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", help="regression.json")
    arguments = parser.parse_args()
    try:
        record = json.loads(Path(arguments.file).read_text(encoding="utf-8"))
        rows, datasets = record["rows"], record["datasets"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PipelineError(
            f"{arguments.file}: cannot be read ({error!r}); run pipeline.reporting.tables.regression again"
        ) from None
    pronounce(rows, datasets, arguments.file)


if __name__ == "__main__":
    run_command(main)
