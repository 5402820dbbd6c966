"""Table ``regression``: reported against measured DSC, row by row; rendered from regression.json, as Markdown only."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.evaluation.provenance import describe_runs
from pipeline.evaluation.readers import OVERALL
from pipeline.evaluation.reproduction import (
    COUNTERPARTS,
    DIFFERS,
    INCONCLUSIVE,
    NEAR,
    NOT_COMPARABLE,
    NOT_RUN,
    REPRODUCES,
)
from pipeline.evaluation.runs import listed_runs
from pipeline.reporting.formats import number
from pipeline.reporting.markup import Cell, Table, markdown
from pipeline.reporting.options import REPORTED_ONLY, label, parse_options
from pipeline.reporting.tables.comparison import format_p
from pipeline.reporting.tables.scores import SOURCE_TITLES
from pipeline.runtime.atomic import write_text
from pipeline.runtime.errors import PipelineError, run_command

VERDICTS = (REPRODUCES, DIFFERS, INCONCLUSIVE, NOT_COMPARABLE, NOT_RUN)
KEYS = {"method", "variant", "dataset", "source", "reported", "value", "difference", "tolerance", "seeds", "p_holm"}
KEYS |= {"must_reproduce", "verdict", "reason"}
HEADER = ["Reported method", "Variant", "Dataset", "Reported by", "Reported", "Measured", "Difference", "Tolerance"]
HEADER += ["Seeds", "p (Holm)", "Verdict"]
TOLERANCE_NOTE = (
    "DSC in points. Both sides scored the same test images, so only training and the drawing of prompts vary. "
    "Tolerance: t(0.975) times the standard deviation over seeds, pooled over datasets, times the root of 1/(our "
    "seeds) + 1/{n_theirs}; under the root also the variance of the reported number's prompt draws. Inconclusive: one "
    "seed, a tolerance above {resolution:g} points for an average ({rows:g} for a dataset), or a difference within the "
    "tolerance but above {near:g} ({row_near:g})."
)
OVERALL_NOTE = (
    "Overall: a method differs if Holm's correction over its average and rows leaves p < 0.05; it reproduces if all "
    "rows were run and the average, or each row if there is none, reproduces; else it is inconclusive."
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
        float(record["resolution"]), int(record["n_theirs"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PipelineError(f"{path}: cannot be read ({error!r}); run its rule again") from None
    return record


def is_reported_only(row: Mapping[str, Any]) -> bool:
    """Whether ``row`` of regression.json is about a method that is not the study's to run."""
    return row["variant"] in REPORTED_ONLY and row["verdict"] == NOT_RUN


def shown_verdict(row: Mapping[str, Any]) -> str:
    """The verdict on ``row`` in words."""
    if is_reported_only(row):
        return "reported only"
    return row["verdict"] + (" (must reproduce)" if row["must_reproduce"] and row["dataset"] == OVERALL else "")


def build(record: Mapping[str, Any], labels: Mapping[str, str]) -> Table:
    """The table for print.

    Args:
        record: content of regression.json.
        labels: display names of variants, methods and datasets.
    """
    printed = []
    for row in record["rows"]:
        cells = [
            *(label(labels, row["variant"]), label(labels, row["dataset"]), SOURCE_TITLES[row["source"]]),
            *(number(row[key], ".2f") for key in ("reported", "value")),
            *(number(row["difference"], "+.2f"), number(row["tolerance"], ".2f")),
            *(str(row["seeds"]), format_p(row["p_holm"]), shown_verdict(row)),
        ]
        printed.append((label(labels, row["method"]), [Cell(cell) for cell in cells]))
    limit, theirs = record["resolution"], record["n_theirs"]
    limits = {"resolution": limit, "rows": 2 * limit, "near": NEAR * limit, "row_near": NEAR * 2 * limit}
    footnotes = [TOLERANCE_NOTE.format(n_theirs=theirs, **limits), OVERALL_NOTE]
    if any(row["method"] in COUNTERPARTS for row in record["rows"]):
        footnotes.append(COUNTERPART_NOTE)
    return Table("Reported and measured DSC", HEADER, printed, footnotes)


def main() -> None:
    options = parse_options(__doc__, "results", "runs", "regression")
    table = build(read_regression(options.regression), options.labels)
    table.footnotes.append(describe_runs(listed_runs(options.results, options.runs)))
    write_text(f"{options.output}.md", markdown(table, options.note))


if __name__ == "__main__":
    run_command(main)
