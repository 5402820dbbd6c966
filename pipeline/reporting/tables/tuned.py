"""Table ``tuned``: DSC by method and dataset with the protocol's rates, and with those that equal tuning chooses."""

from collections.abc import Collection, Mapping
from typing import Any

import pandas as pd

from pipeline.evaluation.methods import AVERAGE, compare_methods, compare_pairs
from pipeline.evaluation.provenance import describe_runs
from pipeline.evaluation.readers import read_cases, read_dsc
from pipeline.evaluation.runs import listed_runs
from pipeline.reporting.formats import NOT_AVAILABLE, number
from pipeline.reporting.markup import Cell, Table, write
from pipeline.reporting.options import label, parse_options
from pipeline.reporting.outcomes import MARKS, difference, mark_note
from pipeline.reporting.tables.scores import MEASURED_NOTE, Scores
from pipeline.runtime.atomic import read_json
from pipeline.runtime.errors import run_command

PROTOCOL, TUNED = "protocol", "tuned"
SAME = "same rates"
"""In place of an outcome: tuning kept the protocol's rates, so the runs are the same."""
COMPARED = ("difference", "low", "high", "outcome")


def _rates(chosen: Mapping[str, Any]) -> str:
    parts = chosen["rates"]["learning_rates"].values() or [chosen["rates"]["learning_rate"]]
    return " / ".join(f"{rate:g}" for rate in parts)


def build(
    dsc: pd.DataFrame,
    cases: pd.DataFrame,
    tuning: Mapping[str, Any],
    methods: Mapping[str, str],
    datasets: Collection[str],
    reference: str,
    margin: float,
    labels: Mapping[str, str],
) -> tuple[pd.DataFrame, Table]:
    """The table, machine-readable (points) and for print: first all methods as the protocol has them, then tuned.

    Args:
        dsc, cases: scores by run and by case of all methods and their tuned variants.
        tuning: as tuning.json.
        methods: by method its tuned variant.
        reference: the method that the others are compared with, each among those of its setting.
        margin: of equivalence, DSC points.
        labels: display names of methods and datasets.
    """
    own = {
        method: next(trial for trial in entry["trials"] if trial["variant"] == method)
        for method, entry in tuning["methods"].items()
    }
    chosen = {method: entry["chosen"] for method, entry in tuning["methods"].items()}
    kept = [method for method in methods if chosen[method]["variant"] == method]
    changed = compare_pairs(cases, {method: name for method, name in methods.items() if method not in kept}, margin)
    changed = changed.set_index(["variant", "dataset"])
    records, printed = [], []
    for setting, names, trials in ((PROTOCOL, {name: name for name in methods}, own), (TUNED, methods, chosen)):
        scores = Scores(dsc, list(names.values()), datasets)
        part = cases[cases["variant"].isin(names.values())]
        compared = compare_methods(part, names[reference], margin).set_index(["variant", "dataset"])["outcome"]
        last = scores.columns[-1]
        for method, variant in names.items():
            record = {"setting": setting, "variant": method, "factor": trials[method]["factor"]}
            record |= {"rates": _rates(trials[method]), "validation_dsc": 100 * trials[method]["mean"]}
            for column in scores.columns:
                record |= scores.record(variant, column)
                record[f"{column}_outcome"] = compared.get((variant, column), "")
                row = changed.loc[(variant, column)] if (variant, column) in changed.index else None
                record |= {f"{column}_change_{name}": None if row is None else row[name] for name in COMPARED}
                if setting == TUNED and method in kept:
                    record[f"{column}_change_outcome"] = SAME
            records.append(record)
            cells = [scores.cell(variant, name, MARKS.get(record[f"{name}_outcome"], "")) for name in scores.columns]
            change = ["", ""] if setting == PROTOCOL else [NOT_AVAILABLE, record[f"{last}_change_outcome"]]
            if (variant, last) in changed.index:
                change[0] = difference(changed.loc[(variant, last)])
            grid = [trial["factor"] for trial in tuning["methods"][method]["trials"]]
            edge = " (edge)" if setting == TUNED and record["factor"] in (min(grid), max(grid)) else ""
            shown = [record["rates"], f"{record['factor']:g}{edge}", number(record["validation_dsc"], ".2f")]
            name = f"{label(labels, method)}, tuned" if setting == TUNED else label(labels, method)
            printed.append((name, [*map(Cell, shown), *cells, *map(Cell, change)]))
    places = ", ".join(label(labels, name) for name in tuning["datasets"])
    count = len(tuning["methods"][reference]["trials"])
    footnotes = [
        MEASURED_NOTE,
        "Above: the protocol's rates; below: tuned. Best and second best are those of one setting. Rates: AdamW's, by "
        "part of the model if there are several; ×: their factor to the protocol's; edge: none beyond it was tried. "
        f"Each method had {count} trials, with seed {tuning['seed']}. Validation: the best "
        f"validation DSC of an epoch, in the mean over {places}; the trial with the highest was taken, whatever test "
        "cases say. All trials: tuning.json.",
        mark_note(f"{label(labels, reference)} in the same setting", margin),
        f"Tuned − protocol: DSC points{', of the average' if len(datasets) > 1 else ''}, paired by seed, outcome after "
        f"Holm's correction over the methods; {SAME}: tuning kept the protocol's, and the runs are the same.",
    ]
    columns = [label(labels, column) for column in [*datasets, *([AVERAGE] if len(datasets) > 1 else [])]]
    header = ["Method", "Rates", "×", "Validation", *columns, "Tuned − protocol [95% CI]", "Outcome"]
    frame = pd.DataFrame(records)
    floats = frame.select_dtypes("float").columns
    frame[floats] = frame[floats].round(6)
    title = "DSC (%) with the protocol's rates and with tuned ones"
    return frame, Table(title, header, printed, footnotes, frozenset({len(methods)}))


def main() -> None:
    options = parse_options(
        __doc__, "results", "runs", "dsc", "datasets", "tuning", "methods", "reference", "margin"
    )  # fmt: skip
    runs = listed_runs(options.results, options.runs)
    tuning = read_json(options.tuning, dict, "run the rule tuning again")
    settings = options.methods, options.datasets, options.reference, options.margin, options.labels
    frame, table = build(read_dsc(options.dsc), read_cases(runs), tuning, *settings)
    write(frame, table, options, describe_runs(runs), missing="")


if __name__ == "__main__":
    run_command(main)
