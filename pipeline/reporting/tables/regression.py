"""Table ``regression``: reported against measured DSC, row by row; rendered from regression.json, as Markdown only."""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.evaluation.provenance import describe_runs
from pipeline.evaluation.reproduction import COUNTERPARTS, DIFFERS, NOT_COMPARABLE, NOT_RUN, REPRODUCES
from pipeline.evaluation.runs import Run, add_run_options, listed_runs
from pipeline.reporting.formats import number
from pipeline.reporting.markup import Cell, Table, markdown
from pipeline.reporting.options import add_labels, add_output, label
from pipeline.runtime.atomic import write_text
from pipeline.runtime.errors import PipelineError, run_command

VERDICTS = (REPRODUCES, DIFFERS, NOT_COMPARABLE, NOT_RUN)
KEYS = {"method", "variant", "dataset", "source", "reported", "value", "must_reproduce", "difference", "tolerance"}
HEADER = [
    *("Reported method", "Variant", "Dataset", "Source", "Reported", "Measured", "Difference", "Tolerance", "Verdict")
]
TOLERANCE_NOTE = (
    "DSC in points. Tolerance: 1.96 standard errors of the mean over seeds and half the width of the 95% interval "
    "over test cases (bootstrap), combined as the root of the sum of squares, and at least {minimum:g}. A wide "
    "tolerance means that the test set is too small to tell, not that the row is right."
)
COUNTERPART_NOTE = (
    "The reported end-to-end numbers come, as far as their public code shows, from training only the decoder: they "
    "are compared with both variants."
)


def read_regression(path: str | Path) -> dict[str, Any]:
    """regression.json (:mod:`pipeline.evaluation.reproduction`).

    Raises:
        PipelineError: the file is missing or broken.
    """
    try:
        record = json.loads(Path(path).read_text(encoding="utf-8"))
        for row in record["rows"]:
            missing = KEYS - set(row)
            if missing or row["verdict"] not in VERDICTS:
                raise KeyError(*sorted(missing) or ["verdict"])
        float(record["smallest_tolerance"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PipelineError(f"{path}: cannot be read ({error!r}); run its rule again") from None
    return record


def build(record: Mapping[str, Any], runs: Sequence[Run], labels: Mapping[str, str], note: str) -> Table:
    """The table for print.

    Args:
        record: content of regression.json.
        runs: those that were measured; the last footnote describes them.
        labels: display names; variants and methods appear as they are called in files.
        note: provenance that the table shows; may be empty.

    Raises:
        PipelineError: a run lacks its per-case scores or its manifest.
    """
    printed = []
    for row in record["rows"]:
        cells = [
            *(row["variant"], label(labels, row["dataset"]), row["source"]),
            *(number(row[key], ".2f") for key in ("reported", "value")),
            *(number(row["difference"], "+.2f"), number(row["tolerance"], ".2f")),
            row["verdict"] + (" (must reproduce)" if row["must_reproduce"] else ""),
        ]
        printed.append((row["method"], [Cell(cell) for cell in cells]))
    footnotes = [TOLERANCE_NOTE.format(minimum=record["smallest_tolerance"])]
    if any(row["method"] in COUNTERPARTS for row in record["rows"]):
        footnotes.append(COUNTERPART_NOTE)
    footnotes.append(describe_runs(runs))
    return Table("Reported and measured DSC", HEADER, printed, footnotes, note, "regression")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_run_options(parser)
    parser.add_argument("--regression", required=True, help="regression.json")
    add_labels(parser)
    add_output(parser, "path without ending: .md is written")
    arguments = parser.parse_args()
    runs = listed_runs(arguments.results, arguments.runs)
    table = build(read_regression(arguments.regression), runs, arguments.labels, arguments.note)
    write_text(arguments.output.with_name(f"{arguments.output.name}.md"), markdown(table))


if __name__ == "__main__":
    run_command(main)
