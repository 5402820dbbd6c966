"""Does the study reproduce the reported DSC? Does the demo reproduce its baseline?

python -m pipeline.reporting.tables.regression --dsc results/dsc.csv --reported workflow/resources/reported.csv
    --datasets '["kvasir_seg", "busi"]' --output results/regression.json --table results/tables/regression.md
python -m pipeline.reporting.tables.regression --dsc results/portable/dsc.csv --baseline tests/regression/demo.json

Exit status 1 if a row that must reproduce differs, or if anything differs from the baseline.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from pipeline.evaluation.baseline import compare_with_baseline
from pipeline.evaluation.pairing import pair_cases
from pipeline.evaluation.provenance import describe_runs
from pipeline.evaluation.readers import dataset_label, read_dsc, read_reported
from pipeline.evaluation.reproduction import COUNTERPARTS, half_widths, judge
from pipeline.evaluation.runs import Run, add_run_options, chosen_runs, json_option
from pipeline.evaluation.verdict import pronounce
from pipeline.reporting.markup import Cell, Table, markdown, number
from pipeline.runtime.atomic import write_json, write_text
from pipeline.runtime.errors import PipelineError, run_command

HEADER = [
    "Reported method",
    "Variant",
    "Dataset",
    "Source",
    "Reported",
    "Measured",
    "Difference",
    "Tolerance",
    "Verdict",
]
TOLERANCE_NOTE = (
    "DSC in points. Tolerance: 1.96 standard errors of the mean over seeds and half the width of the 95% interval "
    "over test cases (bootstrap), combined as root of the summed squares, and at least {minimum:g}. A wide tolerance "
    "means that the test set is too small to tell, not that the row is right."
)
COUNTERPART_NOTE = (
    "The reported end-to-end numbers come, as far as their public code shows, from training the decoder alone: they "
    "are compared with both variants."
)


def render(rows: Sequence[Mapping[str, Any]], footnotes: Sequence[str], note: str) -> Table:
    """The table of ``rows`` (:func:`pipeline.evaluation.reproduction.judge`) for print."""
    printed = []
    for row in rows:
        verdict = row["verdict"] + (" (must reproduce)" if row["must_reproduce"] else "")
        cells = [
            row["variant"],
            dataset_label(row["dataset"]),
            row["source"],
            number(row["reported"], ".2f"),
            number(row["value"], ".2f"),
            number(row["difference"], "+.2f"),
            number(row["tolerance"], ".2f"),
            verdict,
        ]
        printed.append((row["method"], [Cell(cell) for cell in cells]))
    return Table("Reported DSC and what was measured", HEADER, printed, footnotes, note, "regression")


def build(
    dsc: pd.DataFrame,
    reported: pd.DataFrame,
    runs: Sequence[Run],
    datasets: Sequence[str],
    must_reproduce: Sequence[str],
    tolerance: float,
    samples: int,
    comparable: bool,
    note: str,
) -> tuple[dict[str, Any], Table]:
    """The record regression.json and its table.

    Args:
        runs: Runs whose per-case scores widen the tolerance; may be empty.
        samples: Bootstrap resamples.
        note: Provenance that the table shows; may be empty.

    The others are those of :func:`pipeline.evaluation.reproduction.judge`.
    """
    widths = half_widths(pair_cases(runs), samples)
    rows = judge(dsc, reported, datasets, widths, tolerance, must_reproduce, comparable)
    footnotes = [TOLERANCE_NOTE.format(minimum=tolerance)]
    if any(row["method"] in COUNTERPARTS for row in rows):
        footnotes.append(COUNTERPART_NOTE)
    if runs:
        footnotes.append(describe_runs(runs))
    record = {
        "unit": "DSC points",
        "datasets": list(datasets),
        "must_reproduce": list(must_reproduce),
        "smallest_tolerance": tolerance,
        "resamples": samples,
        "comparable": comparable,
        "note": note,
        "rows": rows,
    }
    return record, render(rows, footnotes, note)


def _against_reported(arguments: argparse.Namespace) -> None:
    for option in ("datasets", "output", "table"):
        if getattr(arguments, option) is None:
            raise PipelineError(f"--reported: --{option} is missing; give it too")
    datasets = json_option("--datasets", arguments.datasets, list)
    record, table = build(
        read_dsc(arguments.dsc),
        read_reported(arguments.reported),
        chosen_runs(arguments),
        datasets,
        json_option("--must-reproduce", arguments.must_reproduce, list),
        arguments.tolerance,
        arguments.bootstrap,
        arguments.comparable == "true",
        arguments.note,
    )
    write_json(arguments.output, record)
    write_text(arguments.table, markdown(table))
    if not arguments.write_only:
        pronounce(record["rows"], datasets, arguments.output)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dsc", required=True, help="dsc.csv; for --baseline, the runs lie in runs/ beside it")
    against = parser.add_mutually_exclusive_group(required=True)
    against.add_argument("--reported", help="reported.csv: compare with reported numbers")
    against.add_argument("--baseline", help="JSON file that pipeline.evaluation.rebaseline wrote: compare with that")
    add_run_options(parser, required=False)
    parser.add_argument("--datasets", help="JSON list: the study's datasets")
    parser.add_argument("--must-reproduce", default="[]", help="JSON list: variants whose rows must reproduce")
    parser.add_argument("--tolerance", type=float, default=1.0, help="smallest tolerance, DSC points")
    parser.add_argument("--bootstrap", type=int, default=10_000, help="resamples for the intervals over cases")
    parser.add_argument(
        "--comparable", choices=["true", "false"], default="true",
        help="false: other images or another backbone than the paper's, so no row is judged",
    )  # fmt: skip
    parser.add_argument("--note", default="", help="provenance that the table shows; may be empty")
    parser.add_argument("--output", help="regression.json")
    parser.add_argument("--table", help="the Markdown table")
    parser.add_argument(
        "--write-only", action="store_true",
        help="leave the exit status to pipeline.evaluation.verdict, as a workflow deletes what a failed job wrote",
    )  # fmt: skip
    arguments = parser.parse_args()
    if arguments.reported is not None:
        _against_reported(arguments)
    else:
        print(compare_with_baseline(arguments.dsc, arguments.baseline), file=sys.stderr)


if __name__ == "__main__":
    run_command(main)
