"""Does the study reproduce the reported DSC? Row by row, with a tolerance that follows from the measurement.

``check`` exits with status 1 if a row that must reproduce differs; it is a command of its own since Snakemake deletes
the outputs of a failed job.
"""

import argparse
import json
import math
import sys
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.evaluation.aggregate import Score, measured
from pipeline.evaluation.intervals import SAMPLES, estimate
from pipeline.evaluation.pairing import Paired, pair_cases
from pipeline.evaluation.readers import AVERAGE, read_dsc, read_reported
from pipeline.evaluation.runs import add_run_options, listed_runs
from pipeline.runtime.atomic import write_json
from pipeline.runtime.errors import PipelineError, run_command
from pipeline.runtime.options import json_value

REPRODUCES, DIFFERS, NOT_RUN, NOT_COMPARABLE = "reproduces", "differs", "not run", "not comparable"
# The reported end-to-end numbers come, as far as their public code shows, from training only the decoder (its wrapper
# calls a forward that runs both encoders without gradients), so the first of these is their true counterpart.
COUNTERPARTS = {"end_to_end": ("decoder_only", "end_to_end")}


def averaged_datasets(reported: pd.DataFrame) -> list[str]:
    """The datasets over which the paper's averages are taken: those of its own rows."""
    datasets = reported.loc[(reported["source"] == "paper") & (reported["metric"] == "dsc"), "dataset"]
    return [dataset for dataset in dict.fromkeys(datasets) if dataset != AVERAGE]


def half_widths(paired: Mapping[str, Paired], datasets: Sequence[str], samples: int) -> dict[tuple[str, str], float]:
    """Half the width of the bootstrap interval of the mean DSC, in points, by variant and dataset.

    ``average`` is there for variants that were run on all of ``datasets``; other datasets of ``paired`` are left out.
    """
    present = {dataset: paired[dataset] for dataset in datasets if dataset in paired}
    if not present:
        return {}
    table = estimate(present, None, samples)
    if len(present) < len(datasets):
        table = table[table["dataset"] != AVERAGE]
    return {(row.variant, row.dataset): (row.high - row.low) * 50 for row in table.itertuples()}


def judge(
    dsc: pd.DataFrame,
    reported: pd.DataFrame,
    datasets: Sequence[str],
    widths: Mapping[tuple[str, str], float],
    minimum: float,
    must_reproduce: Collection[str],
    comparable: bool,
) -> list[dict[str, Any]]:
    """Compare each reported DSC with what was measured.

    The tolerance is the root of the summed squares of two half widths of intervals: of the mean over seeds (1.96
    standard errors; none for a single seed), and of the mean over test cases; it is never below ``minimum``. A reported
    average is compared with the measured average over the same datasets, and needs runs on all of them.

    Args:
        dsc: dsc.csv, DSC in 0..1.
        reported: reported.csv, points; rows of other metrics are left out.
        datasets: The study's datasets; other rows of ``dsc`` do not count.
        widths: From :func:`half_widths`; empty where the per-case scores are not available.
        minimum: Smallest tolerance, points.
        must_reproduce: Variants whose rows must reproduce.
        comparable: Whether the study is on the official images and the pretrained backbone. If not, no row is judged.

    Returns:
        One JSON-ready dict per reported row and variant it is compared with: method, variant, dataset, source,
        reported, value, difference, tolerance, seeds, seed_half_width, case_half_width (all in points; None where
        there is no run), must_reproduce, verdict.
    """
    dsc = dsc[dsc["dataset"].isin(datasets)]
    averaged = averaged_datasets(reported)
    rows = []
    for row in reported[reported["metric"] == "dsc"].itertuples():
        for variant in COUNTERPARTS.get(row.method, (row.method,)):
            score = measured(dsc, variant, averaged if row.dataset == AVERAGE else [row.dataset])[row.dataset]
            result = {
                "method": row.method,
                "variant": variant,
                "dataset": row.dataset,
                "source": row.source,
                "reported": float(row.value),
                "must_reproduce": variant in must_reproduce,
            }
            rows.append(result | _judged(score, row.value, widths.get((variant, row.dataset)), minimum, comparable))
    return rows


def _judged(
    score: Score | None, reported: float, case_width: float | None, minimum: float, comparable: bool
) -> dict[str, Any]:
    if score is None:
        keys = ("value", "difference", "tolerance", "seed_half_width", "case_half_width")
        return dict.fromkeys(keys) | {"seeds": 0, "verdict": NOT_RUN}
    # Student's t would be exact, but with two seeds it is 12.7 standard errors: any spread would then reproduce.
    seed_width = None if score.sd is None else 1.96 * score.sd / math.sqrt(score.seeds)
    numbers = {
        "value": score.mean,
        "difference": score.mean - reported,
        "tolerance": max(minimum, math.hypot(seed_width or 0, case_width or 0)),
        "seed_half_width": seed_width,
        "case_half_width": case_width,
    }
    # Nine digits: the last bits differ between processors.
    numbers = {name: None if number is None else round(number, 9) for name, number in numbers.items()}
    verdict = REPRODUCES if abs(numbers["difference"]) <= numbers["tolerance"] else DIFFERS
    return numbers | {"seeds": score.seeds, "verdict": verdict if comparable else NOT_COMPARABLE}


def check(path: Path) -> None:
    """Print on stderr how the rows of ``path`` (regression.json) were judged.

    A row that must reproduce and has no run on one of the study's datasets is named.

    Raises:
        PipelineError: the file cannot be read, or rows that must reproduce differ; the message lists them.
    """
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        rows, datasets = record["rows"], record["datasets"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PipelineError(f"{path}: cannot be read ({error!r}); delete it and run its rule again") from None
    counts = Counter(row["verdict"] for row in rows)
    print(f"{len(rows)} reported rows: {', '.join(f'{n} {name}' for name, n in counts.items())}", file=sys.stderr)
    required = [row for row in rows if row["must_reproduce"]]
    for row in required:
        if row["verdict"] == NOT_RUN and row["dataset"] in datasets:
            print(f"  not run, so not shown to reproduce: {row['variant']} on {row['dataset']}", file=sys.stderr)
    failed = [
        f"\n  {row['variant']} on {row['dataset']}: measured {row['value']:.2f}, reported {row['reported']:.2f} "
        f"({row['source']}), difference {row['difference']:+.2f}, tolerance {row['tolerance']:.2f}"
        for row in required
        if row["verdict"] == DIFFERS
    ]
    if failed:
        rows_do = "1 row that must reproduce does" if len(failed) == 1 else f"{len(failed)} rows that must reproduce do"
        raise PipelineError(f"{rows_do} not (DSC points; all rows: {path}){''.join(failed)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    judging = commands.add_parser("judge", help="compare reported with measured DSC")
    add_run_options(judging)
    judging.add_argument("--dsc", required=True, help="dsc.csv")
    judging.add_argument("--reported", required=True, help="reported.csv")
    for name, content in (("datasets", "the study's datasets"), ("must-reproduce", "variants that must reproduce")):
        option = f"--{name}"
        judging.add_argument(option, type=json_value(option, list), required=True, help=f"JSON list: {content}")
    judging.add_argument("--tolerance", type=float, default=1.0, help="smallest tolerance, DSC points")
    judging.add_argument("--bootstrap", type=int, default=SAMPLES, help="resamples for the intervals over cases")
    judging.add_argument(
        "--comparable", choices=["true", "false"], default="true",
        help="false: other images or another backbone than the paper's, so no row is judged",
    )  # fmt: skip
    judging.add_argument("--note", default="", help="provenance that the table shows; may be empty")
    judging.add_argument("--output", required=True, help="regression.json")
    checking = commands.add_parser("check", help="exit with status 1 if a row that must reproduce differs")
    checking.add_argument("file", type=Path, help="regression.json")
    options = parser.parse_args()
    if options.command == "check":
        check(options.file)
        return
    reported, datasets = read_reported(options.reported), options.datasets
    paired = pair_cases(listed_runs(options.results, options.runs))
    widths = half_widths(paired, averaged_datasets(reported), options.bootstrap)
    comparable = options.comparable == "true"
    settings = datasets, widths, options.tolerance, options.must_reproduce, comparable
    record = {
        "unit": "DSC points",
        "datasets": datasets,
        "must_reproduce": options.must_reproduce,
        "smallest_tolerance": options.tolerance,
        "resamples": options.bootstrap,
        "comparable": comparable,
        "note": options.note,
        "rows": judge(read_dsc(options.dsc), reported, *settings),
    }
    write_json(options.output, record)


if __name__ == "__main__":
    run_command(main)
