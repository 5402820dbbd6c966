"""Table ``released``: published checkpoints scored under every convention, beside the number reported for them."""

from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.data.conventions import CONVENTIONS
from pipeline.data.released import released_checkpoint
from pipeline.evaluation.aggregate import reported
from pipeline.evaluation.per_case import EMPTY, read_per_prompt
from pipeline.evaluation.provenance import DIGITS
from pipeline.evaluation.readers import read_reported
from pipeline.reporting.formats import number
from pipeline.reporting.markup import Cell, Table, rules_between, write
from pipeline.reporting.options import label, parse_options
from pipeline.reporting.tables.prompt_sensitivity import worded
from pipeline.reporting.tables.scores import DECIMALS
from pipeline.runtime.atomic import read_json
from pipeline.runtime.errors import PipelineError, run_command
from pipeline.runtime.manifest import file_sha256

SIZES = {"original": "dsc", "input": "dsc_input_size"}
"""The column of per_prompt.csv with the DSC at each size."""
RANDOM, ALL, NO_VERDICT = "random", "all", "not comparable"
FIX = "delete the file and run its rule again"
NOTE = (
    "Mean DSC over the test cases, in percent, of one set of weights. No noise of training is in it: what separates it "
    "from the reported number is the masks, the prompts, the size at which masks are compared, and the images. Masks: "
    "corrected, foreground from grey level 128 on; reference, above 0, as the reference's code reads them. Size: "
    "original, predictions upsampled to the image's own size; input, targets resized to that of the model's input. "
    "p0: the empty prompt. Random: one of p1 and up for each case, the mean over all draws ± the standard deviation "
    "of a draw. Lowest, highest: among p1 and up. Δ: random minus reported, points. Nearest: the smallest distance "
    "from the reported number, points, among p1 and up and random. Reported: whether it lies between lowest and "
    "highest. All prompt types are in the CSV."
)


def conventions(scores: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """DSC (points) by masks and size: a column for each prompt type, ``random`` and ``draw_sd``.

    Args:
        scores: per_prompt.csv under each convention for masks.
    """
    rows = []
    for (masks, table), (size, column) in product(scores.items(), SIZES.items()):
        by_case = 100 * table.pivot(index="case", columns="prompt_type", values=column)
        drawn = by_case[worded(by_case.columns)]
        draw_sd = np.sqrt(drawn.var(axis=1, ddof=0).sum()) / len(drawn)
        means = by_case.mean().to_dict() | {RANDOM: drawn.mean().mean(), "draw_sd": draw_sd}
        rows.append({"masks": masks, "size": size} | means)
    return pd.DataFrame(rows)


def judged(found: pd.DataFrame, value: float | None) -> dict[str, Any]:
    """Lowest and highest DSC over the rows of :func:`conventions` and where they are; against the reported ``value``
    the distance of the nearest, and whether it lies between the two ("below", "within", "above").
    """
    types = worded(name for name in found.columns if name.startswith("p"))
    chosen = found.set_index(["masks", "size"])[[*types, RANDOM]].stack()
    single = len(found) == 1

    def place(key: tuple[str, str, str]) -> str:
        return key[-1] if single else " ".join(key)

    low, high = chosen.min(), chosen.max()
    record = {"low": low, "low_at": place(chosen.idxmin()), "high": high, "high_at": place(chosen.idxmax())}
    if value is None:
        return record | {"reported": None, "verdict": NO_VERDICT}
    distance = (chosen - value).abs()
    verdict = "below" if value < low else "above" if value > high else "within"
    nearest = {"nearest": distance.min(), "nearest_at": place(distance.idxmin())}
    difference = found[RANDOM].item() - value if single else None
    return record | {"reported": value, "difference": difference, **nearest, "verdict": verdict}


def _origin(key: str, source: Mapping[str, Any], scores: Sequence[Path]) -> str:
    """The footnote that says what was scored."""
    file = "a file of the user's"
    if not source["official"]:
        file = "a run of this study, exported in the authors' layout and read back"
    elif "file" in source:
        file = f"{source['file']} of {source['repository']} at commit {source['revision'][:DIGITS]}"
    hashes = " and ".join(file_sha256(path)[:DIGITS] for path in scores)
    return (
        f"{key}: {file}; {source['trained_parameters']:,} trained parameters. SHA-256, first {DIGITS} digits: "
        f"checkpoint {source['sha256'][:DIGITS]}; per-case scores {hashes}."
    )


def _cells(record: Mapping[str, Any]) -> list[Cell]:
    def cell(name: str, sign: str = "", spread: str | None = None) -> Cell:
        at = record.get(f"{name}_at")
        return Cell(number(record.get(name), f"{sign}.{DECIMALS}f") + (f" ({at})" if at else ""), spread)

    random = cell(RANDOM, spread=number(record["draw_sd"], f".{DECIMALS}f") if RANDOM in record else None)
    figures = [cell(EMPTY), random, *map(cell, ("low", "high", "reported")), cell("difference", "+"), cell("nearest")]
    return [Cell(record["masks"]), Cell(record["size"]), *figures, Cell(record["verdict"])]


def build(
    results: Path, keys: Sequence[str], facts: pd.DataFrame, labels: Mapping[str, str]
) -> tuple[pd.DataFrame, Table, str]:
    """The table of the checkpoints ``keys``, machine-readable and for print, and what it was made from.

    Each checkpoint has a row for each convention, then one for all of them.

    Args:
        results: folder with released/KEY/source.json and released/KEY/CONVENTIONS/per_prompt.csv.
        facts: reported.csv.
        labels: display names of methods and datasets.

    Raises:
        PipelineError: a file is missing or damaged.
    """
    records, printed, origins = [], [], []
    for key in keys:
        entry, folder = released_checkpoint(key), results / "released" / key
        source = read_json(folder / "source.json", dict, FIX)
        scores = {masks: read_per_prompt(folder / masks) for masks in CONVENTIONS}
        found = conventions(scores)
        try:
            origins.append(_origin(key, source, [folder / masks / "per_prompt.csv" for masks in CONVENTIONS]))
        except KeyError as error:
            raise PipelineError(f"{folder}/source.json: no {error}; {FIX}") from None
        there = reported(facts, entry.method, entry.dataset) if source["official"] else None
        value = there and there.value
        shared = {"checkpoint": key, "dataset": entry.dataset, "method": entry.method}
        shared |= {
            "cases": scores[CONVENTIONS[0]]["case"].nunique(),
            "trained_parameters": source["trained_parameters"],
        }
        own = [row | judged(found.iloc[[at]], value) for at, row in enumerate(found.to_dict("records"))]
        for row in [*own, {"masks": ALL, "size": ALL} | judged(found, value)]:
            printed.append((f"{label(labels, entry.method)}, {label(labels, entry.dataset)}", _cells(row)))
            records.append(shared | {name: round(x, 6) if isinstance(x, float) else x for name, x in row.items()})
    table = Table(
        title="DSC (%) of published checkpoints",
        header=[
            *("Checkpoint", "Masks", "Size", EMPTY, "Random", "Lowest", "Highest", "Reported", "Δ", "Nearest"),
            "Reported lies",
        ],
        rows=printed,
        footnotes=[NOTE],
        rules=rules_between(record["checkpoint"] for record in records),
    )
    return pd.DataFrame(records), table, " ".join(origins)


def main() -> None:
    options = parse_options(__doc__, "results", "checkpoints", "reported")
    facts = read_reported(options.reported)
    frame, table, made_from = build(options.results, options.checkpoints, facts, options.labels)
    write(frame, table, options, made_from)


if __name__ == "__main__":
    run_command(main)
