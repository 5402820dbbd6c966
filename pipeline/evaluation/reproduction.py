"""Does the study reproduce the reported DSC? Row by row, and for each method as a whole.

``check`` exits with status 1 if a method that must reproduce differs; it is a command of its own since Snakemake
deletes the outputs of a failed job.
"""

import argparse
import json
import math
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import t as student

from pipeline.evaluation.methods import holm, seed_means
from pipeline.evaluation.readers import AVERAGE, OVERALL, read_cases, read_reported
from pipeline.evaluation.runs import add_run_options, listed_runs
from pipeline.runtime.atomic import write_json
from pipeline.runtime.errors import PipelineError, run_command
from pipeline.runtime.options import json_value

REPRODUCES, DIFFERS, INCONCLUSIVE = "reproduces", "differs", "inconclusive"
NOT_RUN, NOT_COMPARABLE = "not run", "not comparable"
# The reported end-to-end numbers come, as far as their public code shows, from training only the decoder (its wrapper
# calls a forward that runs both encoders without gradients), so the first of these is their true counterpart.
COUNTERPARTS = {"end_to_end": ("decoder_only", "end_to_end")}
LEVEL = 0.05
RESOLUTION = 0.9
NEAR = 0.75
"""Part of the resolution that a reproduced number may be off."""
ROUNDING = 0.005
"""Points by which a reported number, given to two decimals, may be off."""
COLUMNS = ["method", "variant", "dataset", "source", "reported", "value", "difference", "tolerance", "seeds"]
COLUMNS += ["seed_sd", "p", "p_holm", "verdict", "reason"]


class _Spread(NamedTuple):
    """SD of a variant's runs between seeds (points), pooled over datasets, and its degrees of freedom."""

    sd: float
    freedom: int


class _Measured(NamedTuple):
    """A measured DSC (points), the variance of its difference to a reported one, and the number of seeds.

    ``trained`` is the part of the variance that the spread between seeds makes, in units of its square; ``drawn`` the
    part of the paper's prompt draws, in squared points.
    """

    value: float
    trained: float
    drawn: float
    seeds: int


def averaged_datasets(reported: pd.DataFrame) -> list[str]:
    """The datasets over which the paper's averages are taken: those of its own rows, or of all rows without sources."""
    own = reported["source"] == "paper" if "source" in reported else slice(None)
    return [dataset for dataset in dict.fromkeys(_dsc_rows(reported).loc[own, "dataset"]) if dataset != AVERAGE]


def _dsc_rows(reported: pd.DataFrame) -> pd.DataFrame:
    return reported[reported["metric"] == "dsc"] if "metric" in reported else reported


def _measure(scores: pd.DataFrame, n_theirs: int) -> tuple[dict[str, _Measured], _Spread]:
    """The scores of one variant by dataset, and their spread."""
    measured, squares, freedom = {}, 0.0, 0
    for dataset, variants in seed_means(scores).items():
        (by_seed,) = variants.values()
        means = np.array(list(by_seed.values()))
        squares += ((means - means.mean()) ** 2).sum()
        freedom += len(means) - 1
        drawn = 0.0
        if "dsc_prompt_sd" in scores:
            # Each case of theirs was scored under one drawn prompt, so the variance of their mean is that of a sum.
            spreads = 100 * scores.loc[scores["dataset"] == dataset, "dsc_prompt_sd"].fillna(0)
            drawn = (spreads**2).mean() / (len(spreads) / len(means)) / n_theirs
        measured[dataset] = _Measured(means.mean(), 1 / len(means) + 1 / n_theirs, drawn, len(means))
    return measured, _Spread(math.sqrt(squares / freedom) if freedom else math.nan, freedom)


def _average(measured: Mapping[str, _Measured], datasets: Sequence[str]) -> dict[str, _Measured]:
    """The mean over ``datasets``, under ``average``, if all of them were run."""
    parts = [measured[dataset] for dataset in datasets if dataset in measured]
    if not parts or len(parts) < len(datasets):
        return {}
    count = len(parts)
    value, trained, drawn = (sum(getattr(part, name) for part in parts) for name in ("value", "trained", "drawn"))
    seeds = min(part.seeds for part in parts)
    return {AVERAGE: _Measured(value / count, trained / count**2, drawn / count**2, seeds)}


def _row(score: _Measured | None, spread: _Spread, reported: float, limit: float) -> dict[str, Any]:
    """Everything about one reported number but the correction of its p-value."""
    if score is None:
        return {"seeds": 0, "verdict": NOT_RUN}
    row = {"value": score.value, "difference": score.value - reported, "seeds": score.seeds}
    if not spread.freedom:
        return row | {"verdict": INCONCLUSIVE, "reason": "one seed: the spread between seeds is unknown"}
    trained = score.trained * spread.sd**2
    error = math.sqrt(trained + score.drawn)
    # Welch and Satterthwaite: only the part that is estimated from seeds has few degrees of freedom.
    freedom = spread.freedom * (error**2 / trained) ** 2 if trained else math.inf
    tolerance = max(student.ppf(1 - LEVEL / 2, freedom) * error, ROUNDING)
    off = abs(row["difference"]) > ROUNDING + 1e-9
    p = 2 * student.sf(abs(row["difference"]) / error, freedom) if off and error else float(not off)
    row |= {"tolerance": tolerance, "seed_sd": spread.sd, "p": p}
    if p < LEVEL:
        return row | {"verdict": DIFFERS}
    if tolerance > limit:
        return row | {"verdict": INCONCLUSIVE, "reason": f"its tolerance, {tolerance:.2f}, exceeds {limit:g} points"}
    if abs(row["difference"]) > NEAR * limit:
        return row | {
            "verdict": INCONCLUSIVE,
            "reason": f"within its tolerance, but off by more than {NEAR * limit:g} points",
        }
    return row | {"verdict": REPRODUCES}


def _overall(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The verdict on a method over its ``rows``, which it gives their corrected p-values."""
    tested = [row for row in rows if "p" in row]
    for row, corrected in zip(tested, holm([row["p"] for row in tested]), strict=True):
        row["p_holm"] = corrected
    missing = [row["dataset"] for row in rows if row["verdict"] == NOT_RUN]
    seeds = min((row["seeds"] for row in rows if row["seeds"]), default=0)
    whole = {"seeds": seeds, "p_holm": min((row["p_holm"] for row in tested), default=None)}
    if len(missing) == len(rows):
        return whole | {"verdict": NOT_RUN}
    if tested and whole["p_holm"] < LEVEL:
        return whole | {"verdict": DIFFERS}
    if missing:
        return whole | {"verdict": INCONCLUSIVE, "reason": f"not run: {', '.join(missing)}"}
    for row in [row for row in rows if row["dataset"] == AVERAGE] or rows:
        if row["verdict"] != REPRODUCES:
            reason = row.get("reason") or "beyond its tolerance, though not after Holm's correction"
            return whole | {"verdict": INCONCLUSIVE, "reason": f"{row['dataset']}: {reason}"}
    return whole | {"verdict": REPRODUCES}


def judge_reproduction(
    scores: pd.DataFrame, reported: pd.DataFrame, n_theirs: int = 1, resolution: float = RESOLUTION
) -> pd.DataFrame:
    """Compare reported DSC with what was measured, row by row and for each method as a whole.

    Both sides scored the same test images, so chance enters through training alone: ours and theirs each trained the
    method a few times. With s the standard deviation between seeds, pooled over the variant's datasets (its degrees of
    freedom: the runs less the datasets), a row's tolerance is t(0.975) * s * sqrt(1/n_ours + 1/n_theirs). An average is
    compared with the mean over the paper's datasets, and needs runs on all of them. Where a source gives a row for
    each of these and no average, their mean is judged too, since an average tells methods apart better than any row.

    If cases were scored under every prompt, s holds no prompt draws, but the reported numbers do: one prompt was drawn
    for each case. The variance of their mean, the sum of the cases' variances over the squared number of cases, is
    divided by ``n_theirs`` and added under the root.

    A row *differs* beyond its tolerance. It is *inconclusive* with a single seed, if its tolerance exceeds a limit
    (``resolution`` for an average, twice that for a dataset, since an average over five is known about twice as well),
    or if it is off by more than :data:`NEAR` of that limit. A method *differs* if Holm's correction over its average
    and rows leaves a p-value below 0.05. It *reproduces* if all its rows were run and its average (each row, if there
    is none) reproduces. All else is inconclusive. No other method's reported average is closer than 1.35 points to that
    of the telescopic adapters. The default resolution is two thirds of this, and what a reproduced average may be off
    is half of it, so that another method's numbers do not pass.

    Args:
        scores: One row per case and run: dataset, variant, seed, case, dsc (0..1); ``dsc_prompt_sd``, if there, is the
            standard deviation of the case's DSC (0..1) over prompts.
        reported: method, dataset, value (points); ``metric`` and ``source``, if there: rows of other metrics than
            ``dsc`` are left out, and each source is judged by itself.
        n_theirs: Trainings behind each reported number.
        resolution: Largest tolerance of an average that reproduces, points.

    Returns:
        Columns :data:`COLUMNS`, one row for each reported number and variant that it is compared with
        (:data:`COUNTERPARTS`), then one with the dataset ``overall``: reported, value, difference, tolerance and
        seed_sd in points, NaN where unknown; seeds, the fewest of the datasets of an average or ``overall``; p of the
        row by itself; p_holm corrected over the method's rows (``overall``: the smallest); verdict; reason of an
        inconclusive one.
    """
    averaged = averaged_datasets(reported)
    table = _dsc_rows(reported)
    table = table if "source" in table else table.assign(source="")
    known = set(table["dataset"])
    variants = dict(list(scores[scores["dataset"].isin(known)].groupby("variant")))
    result = []
    for (method, source), group in table.groupby(["method", "source"], sort=False):
        values = dict(zip(group["dataset"], group["value"].astype(float), strict=True))
        if AVERAGE not in values and len(averaged) > 1 and set(averaged) <= set(values):
            values[AVERAGE] = sum(values[dataset] for dataset in averaged) / len(averaged)
        for variant in COUNTERPARTS.get(method, (method,)):
            measured, spread = _measure(variants[variant], n_theirs) if variant in variants else ({}, _Spread(0, 0))
            measured |= _average(measured, averaged)
            names = {"method": method, "variant": variant, "source": source}
            rows = []
            for dataset, value in values.items():
                judged = _row(measured.get(dataset), spread, value, resolution * (1 if dataset == AVERAGE else 2))
                rows.append(names | {"dataset": dataset, "reported": value} | judged)
            overall = _overall(rows)
            result += [*rows, names | {"dataset": OVERALL} | overall]
    numbers = dict.fromkeys(("reported", "value", "difference", "tolerance", "seed_sd", "p", "p_holm"), float)
    frame = pd.DataFrame([{"reason": "", **row} for row in result], columns=COLUMNS).astype(numbers)
    # Nine digits: the last bits differ between processors.
    return frame.round(dict.fromkeys(numbers, 9))


def check(path: Path) -> None:
    """Print on stderr how the methods of ``path`` (regression.json) were judged.

    What must reproduce and is not shown to is named with the reason.

    Raises:
        PipelineError: the file cannot be read, or a method that must reproduce differs; the message lists its rows.
    """
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
        methods = [row for row in rows if row["dataset"] == OVERALL]
        counts = Counter(row["verdict"] for row in methods)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PipelineError(f"{path}: cannot be read ({error!r}); delete it and run its rule again") from None
    print(f"methods by verdict: {', '.join(f'{n} {name}' for name, n in counts.items())}", file=sys.stderr)
    failed = []
    for method in (row for row in methods if row["must_reproduce"]):
        names = f"{method['variant']} ({method['source']})"
        if method["verdict"] == DIFFERS:
            own = [row for row in rows if all(row[key] == method[key] for key in ("method", "variant", "source"))]
            failed += [
                f"\n  {names} on {row['dataset']}: measured {row['value']:.2f}, reported {row['reported']:.2f}, "
                f"difference {row['difference']:+.2f}, tolerance {row['tolerance']:.2f}, p (Holm) {row['p_holm']:.2g}"
                for row in own
                if row["verdict"] == DIFFERS and row is not method
            ]
        elif method["verdict"] != REPRODUCES:
            print(f"  not shown to reproduce: {names}: {method['reason'] or method['verdict']}", file=sys.stderr)
    if failed:
        raise PipelineError(f"a method that must reproduce does not (DSC points; all rows: {path}){''.join(failed)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    judging = commands.add_parser("judge", help="compare reported with measured DSC")
    add_run_options(judging)
    judging.add_argument("--reported", required=True, help="reported.csv")
    variants = json_value("--must-reproduce", list)
    judging.add_argument("--must-reproduce", type=variants, required=True, help="JSON list: variants that must")
    judging.add_argument("--n-theirs", type=int, default=1, help="trainings behind each reported number")
    judging.add_argument("--resolution", type=float, default=RESOLUTION, help="largest tolerance of an average, points")
    judging.add_argument(
        "--comparable", choices=["true", "false"], default="true",
        help="false: not the study that the paper reports, so nothing is judged",
    )  # fmt: skip
    judging.add_argument("--note", default="", help="provenance that the table shows; may be empty")
    judging.add_argument("--output", required=True, help="regression.json")
    checking = commands.add_parser("check", help="exit with status 1 if a method that must reproduce differs")
    checking.add_argument("file", type=Path, help="regression.json")
    options = parser.parse_args()
    if options.command == "check":
        check(options.file)
        return
    scores = read_cases(listed_runs(options.results, options.runs))
    table = judge_reproduction(scores, read_reported(options.reported), options.n_theirs, options.resolution)
    table["must_reproduce"] = table["variant"].isin(options.must_reproduce)
    comparable = options.comparable == "true"
    if not comparable:
        table.loc[table["verdict"] != NOT_RUN, ["verdict", "reason"]] = NOT_COMPARABLE, ""
    record = {
        "unit": "DSC points",
        "must_reproduce": options.must_reproduce,
        "n_theirs": options.n_theirs,
        "resolution": options.resolution,
        "comparable": comparable,
        "note": options.note,
        "rows": table.astype(object).where(table.notna(), None).to_dict("records"),
    }
    write_json(options.output, record)


if __name__ == "__main__":
    run_command(main)
