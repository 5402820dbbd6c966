"""The data audit: records, missing and empty cases, duplicates and leaks of all datasets, as a table and as text."""

import argparse
import csv
import io
import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.data.cases import Case, read_cases
from pipeline.data.fingerprints import HASH_DISTANCE, SIMILARITY, THUMBNAIL, Comparison, Fingerprint, find_pairs
from pipeline.data.sources import SPLITS, dataset_facts
from pipeline.runtime.atomic import write_text
from pipeline.runtime.errors import PipelineError, run_command

SAME_SCENE = 0.5
"""Least similarity at which two successive frames count as one scene; one random pair in twelve reaches it."""
LISTED = 12
"""Cases that the text names in one line; the CSV has all."""
COLUMNS = ["dataset", "finding", "splits", "value", "cases"]


@dataclass(frozen=True)
class Finding:
    """A row of the table: a count (or, for foreground shares, percent) and the cases it is about."""

    dataset: str
    finding: str
    splits: str
    value: float
    cases: tuple[str, ...] = ()


def _between(first: Sequence[str], second: Sequence[str]) -> Iterable[str]:
    """The combinations of splits in which two cases stand, as "train" or "train-test"."""
    pairs = {tuple(sorted((one, two), key=SPLITS.index)) for one in first for two in second}
    return ("-".join(dict.fromkeys(pair)) for pair in pairs)


def _order(splits: str) -> tuple[int, ...]:
    return tuple(SPLITS.index(split) for split in splits.split("-"))


def _grouped(dataset: str, finding: str, items: Iterable[tuple[str, str]]) -> list[Finding]:
    """One row for each combination of splits; ``items`` are (splits, text)."""
    groups: dict[str, list[str]] = defaultdict(list)
    for splits, text in items:
        groups[splits].append(text)
    ordered = sorted(groups, key=_order)
    return [Finding(dataset, finding, splits, len(groups[splits]), tuple(groups[splits])) for splits in ordered]


def _foreground(dataset: str, cases: Sequence[Case]) -> list[Finding]:
    findings = []
    for split in SPLITS:
        shares = [100 * c.foreground / (c.width * c.height) for c in cases if c.split == split and c.foreground]
        if shares:
            names = ("foreground_percent_p5", "foreground_percent_median", "foreground_percent_p95")
            values = np.percentile(shares, (5, 50, 95))
            findings += [
                Finding(dataset, name, split, round(float(value), 2)) for name, value in zip(names, values, strict=True)
            ]
    return findings


def _frames(dataset: str, cases: Sequence[Case], comparison: Comparison) -> list[Finding]:
    """Frames of val and test of which a train frame next to them in the video shows the same scene."""
    split_of = {case.case: case.split for case in cases}
    pairs, seen = [], []
    for case, split in split_of.items():
        neighbours = [str(int(case) + step) for step in (-1, 1) if str(int(case) + step) in split_of]
        alike = [other for other in neighbours if comparison.similarity(case, other) >= SAME_SCENE]
        pairs += [
            (splits, f"{case} = {other}")
            for other in alike
            if int(other) > int(case)
            for splits in _between([split], [split_of[other]])
            if "-" in splits
        ]
        if split != "train" and any(split_of[other] == "train" for other in alike):
            seen.append((split, case))
    return [
        *_grouped(dataset, "successive_frames_alike", pairs),
        *_grouped(dataset, "frames_with_a_train_neighbour", seen),
    ]


def audit_dataset(dataset: str, folder: Path) -> list[Finding]:
    """All findings on one dataset.

    Args:
        folder: standardised dataset with its integrity.json.

    Raises:
        PipelineError: a file is missing, or the two do not belong together.
    """
    cases = read_cases(folder / "cases.csv")
    path = folder / "integrity.json"
    try:
        proof: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        prints = {case: Fingerprint.from_json(value) for case, value in proof["fingerprints"].items()}
    except (OSError, ValueError, KeyError) as error:
        raise PipelineError(f"{path}: cannot be read ({error!r}); run pipeline.data.integrity again") from None
    splits_of: dict[str, list[str]] = defaultdict(list)
    for case in cases:
        splits_of[case.case].append(case.split)
    if set(prints) != set(splits_of):
        raise PipelineError(f"{path}: about other cases than cases.csv; run pipeline.data.integrity again")
    findings = []
    for split in SPLITS:
        findings.append(Finding(dataset, "records_listed", split, proof["records"][split]))
        findings.append(Finding(dataset, "records_used", split, proof["cases"][split]))
    findings += _grouped(dataset, "missing", [tuple(pair) for pair in proof["missing"]])
    findings += _grouped(dataset, "left_out", [tuple(pair) for pair in proof["dropped"]])
    findings += _grouped(dataset, "empty_masks", [tuple(pair) for pair in proof["empty_masks"]])
    if len(proof["grey_images"]) < len(splits_of):
        # A dataset that is grey throughout is nothing to report.
        findings += _grouped(
            dataset, "grey_images", [(split, case) for case in proof["grey_images"] for split in splits_of[case]]
        )
    repeats = [
        ("-".join(dict.fromkeys(sorted(splits, key=SPLITS.index))), case) for case, splits in proof["repeated"].items()
    ]
    findings += _grouped(dataset, "listed_more_than_once", repeats)
    pairs = find_pairs(prints)
    for kind, name in (("exact", "identical_pairs"), ("near", "near_duplicate_pairs")):
        findings += _grouped(
            dataset,
            name,
            [
                (splits, f"{pair.first} = {pair.second}")
                for pair in pairs
                if pair.kind == kind
                for splits in _between(splits_of[pair.first], splits_of[pair.second])
            ],
        )
    if dataset_facts(dataset).video_frames:
        findings += _frames(dataset, cases, Comparison(prints))
    return findings + _foreground(dataset, cases)


def to_csv(findings: Sequence[Finding]) -> str:
    """The table, one row a finding; cases are separated by "; "."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in findings:
        writer.writerow([row.dataset, row.finding, row.splits, f"{row.value:g}", "; ".join(row.cases)])
    return text.getvalue()


def _table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[str]:
    lines = [f"| {' | '.join(header)} |", f"|{' --- |' * len(header)}"]
    return lines + [f"| {' | '.join(str(value) for value in row)} |" for row in rows]


def _named(cases: Sequence[str]) -> str:
    more = f", and {len(cases) - LISTED} more" if len(cases) > LISTED else ""
    return ", ".join(cases[:LISTED]) + more


def to_markdown(datasets: Sequence[str], findings: Sequence[Finding], note: str) -> str:
    """The audit as text."""

    def value(dataset: str, finding: str, splits: str) -> str:
        found = [row.value for row in findings if (row.dataset, row.finding, row.splits) == (dataset, finding, splits)]
        return f"{found[0]:g}" if found else "0"

    def share(dataset: str, split: str) -> str:
        low, median, high = (value(dataset, f"foreground_percent_{name}", split) for name in ("p5", "median", "p95"))
        return f"{median} ({low} to {high})"

    def title(dataset: str) -> str:
        return dataset_facts(dataset).title

    def chosen(*names: str) -> list[Finding]:
        return [row for row in findings if row.finding in names]

    text = ["# Data audit", ""]
    if note:
        text += [f"**{note}**", ""]
    text += [
        "## Records",
        "",
        "Foreground: median share of the image (5th to 95th percentile), empty masks left out.",
        "",
    ]
    text += _table(
        ["dataset", "split", "listed", "missing", "left out", "used", "empty masks", "foreground, %"],
        [
            [
                title(dataset),
                split,
                value(dataset, "records_listed", split),
                value(dataset, "missing", split),
                value(dataset, "left_out", split),
                value(dataset, "records_used", split),
                value(dataset, "empty_masks", split),
                share(dataset, split),
            ]
            for dataset in datasets
            for split in SPLITS
        ],
    )
    text += [
        "",
        "## Cases that stand in more than one place",
        "",
        "*Listed more than once*: the split lists name the case twice, within a split or in two. *Identical*: two "
        "cases with the same pixels. *Near duplicates*: perceptual hashes within "
        f"{HASH_DISTANCE} of 64 bits, confirmed by a correlation of at least {SIMILARITY} of their "
        f"{THUMBNAIL} x {THUMBNAIL} pixels, the mean of all other images taken off. A pair counts once for "
        "each combination of splits in which its cases stand.",
        "",
    ]
    names = ("listed_more_than_once", "identical_pairs", "near_duplicate_pairs")
    places = sorted({row.splits for row in chosen(*names)}, key=_order)
    text += _table(
        ["dataset", "splits", "listed more than once", "identical pairs", "near-duplicate pairs"],
        [
            [title(dataset), splits, *(value(dataset, name, splits) for name in names)]
            for dataset in datasets
            for splits in places
            if any(value(dataset, name, splits) != "0" for name in names)
        ],
    )
    frames = chosen("frames_with_a_train_neighbour")
    if frames:
        text += [
            "",
            "## Video frames",
            "",
            "Frames whose predecessor or successor in the video is in train and shows the same scene (correlation of "
            f"at least {SAME_SCENE}, as above).",
            "",
        ]
        text += _table(
            ["dataset", "split", "frames", "of"],
            [[title(r.dataset), r.splits, f"{r.value:g}", value(r.dataset, "records_used", r.splits)] for r in frames],
        )
    details = [
        ("missing", "missing"),
        ("left_out", "left out of the split"),
        ("grey_images", "grey images"),
        ("listed_more_than_once", "listed more than once"),
        ("identical_pairs", "identical"),
        ("near_duplicate_pairs", "near duplicates"),
    ]
    lines = [
        f"- {title(row.dataset)}, {row.splits}, {label} ({row.value:g}): {_named(row.cases)}"
        for dataset in datasets
        for name, label in details
        for row in findings
        if (row.dataset, row.finding) == (dataset, name)
    ]
    if lines:
        text += ["", "## Which cases", "", "The CSV beside this file names all of them.", "", *lines]
    return "\n".join(text) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--datasets", type=json.loads, required=True, help="JSON list of datasets")
    parser.add_argument("--folder", type=Path, required=True, help="folder of all standardised datasets")
    parser.add_argument("--note", default="", help="provenance that the text states")
    parser.add_argument("--output-markdown", type=Path, required=True)
    parser.add_argument("--output-csv", type=Path, required=True)
    arguments = parser.parse_args()
    findings = [
        finding for dataset in arguments.datasets for finding in audit_dataset(dataset, arguments.folder / dataset)
    ]
    write_text(arguments.output_csv, to_csv(findings))
    write_text(arguments.output_markdown, to_markdown(arguments.datasets, findings, arguments.note))


if __name__ == "__main__":
    run_command(main)
