"""Facts of the data audit: records, missing and empty cases, duplicates and leaks of a standardised dataset."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.data.cases import Case, read_cases
from pipeline.data.fingerprints import Fingerprint, find_pairs, find_scenes
from pipeline.data.leak_free import related
from pipeline.data.sources import SPLITS, dataset_facts
from pipeline.runtime.atomic import read_json
from pipeline.runtime.errors import PipelineError

FIX = "run pipeline.data.integrity again"


@dataclass(frozen=True)
class Finding:
    """One fact: a count (or, for foreground shares, percent) and the cases that it is about.

    ``splits`` is a split, or a combination such as "train-test"; of cases that were moved, from and to.
    """

    dataset: str
    finding: str
    splits: str
    value: float
    cases: tuple[str, ...] = ()


def _joined(splits: Iterable[str]) -> str:
    return "-".join(split for split in SPLITS if split in set(splits))


def _between(first: Sequence[str], second: Sequence[str]) -> Iterable[str]:
    """The combinations of splits to which two cases belong, as "train" or "train-test"."""
    return {_joined([one, two]) for one in first for two in second}


def split_order(splits: str) -> tuple[int, ...]:
    """Sort key of :attr:`Finding.splits`."""
    return tuple(SPLITS.index(split) for split in splits.split("-"))


def _grouped(dataset: str, finding: str, items: Iterable[tuple[str, str]]) -> list[Finding]:
    """One row for each combination of splits; ``items`` are (splits, text)."""
    groups: dict[str, list[str]] = defaultdict(list)
    for splits, text in items:
        groups[splits].append(text)
    ordered = sorted(groups, key=split_order)
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


def _frames(dataset: str, cases: Sequence[Case], prints: Mapping[str, Fingerprint]) -> list[Finding]:
    """Frames of val and test whose neighbour in the video is in train and shows the same scene."""
    split_of = {case.case: case.split for case in cases}
    scenes = find_scenes(prints)
    splits = [_joined([split_of[one], split_of[two]]) for one, two in scenes]
    pairs = [(joined, f"{one} = {two}") for joined, (one, two) in zip(splits, scenes, strict=True) if "-" in joined]
    beside = {case for pair in scenes if "train" in map(split_of.get, pair) for case in pair}
    seen = [(split, case) for case, split in split_of.items() if split != "train" and case in beside]
    return [
        *_grouped(dataset, "successive_frames_alike", pairs),
        *_grouped(dataset, "frames_with_a_train_neighbour", seen),
    ]


def _leak_free(
    dataset: str, cases: Sequence[Case], prints: Mapping[str, Fingerprint], moved: Sequence[Sequence[str]]
) -> list[Finding]:
    """Groups of related cases and where they are, which cases left their published split, and which stayed in test."""
    split_of = {case.case: case.split for case in cases}
    groups = related(prints, {case.case: case.subject for case in cases}, bool(dataset_facts(dataset).sequences))
    texts = [(split_of[group[0]], " = ".join(group)) for group in groups]
    elsewhere = [(f"{old}-{new}", case) for case, old, new in moved]
    came = {case for case, _, _ in moved}
    stayed = [("test", case) for case, split in split_of.items() if split == "test" and case not in came]
    names = (("related", texts), ("moved", elsewhere), ("stayed", stayed))
    return [finding for name, items in names for finding in _grouped(dataset, name, items)]


def audit_dataset(dataset: str, folder: Path) -> list[Finding]:
    """All findings on one dataset, in a fixed order.

    Args:
        folder: standardised dataset with its integrity.json.

    Raises:
        PipelineError: a file is missing, or the two do not belong together.
    """
    cases = read_cases(folder / "cases.csv")
    path = folder / "integrity.json"
    proof: dict[str, Any] = read_json(path, dict, FIX)
    try:
        prints = {case: Fingerprint.from_json(value) for case, value in proof["fingerprints"].items()}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise PipelineError(f"{path}: has no fingerprints ({error!r}); {FIX}") from None
    splits_of: dict[str, list[str]] = defaultdict(list)
    for case in cases:
        splits_of[case.case].append(case.split)
    if set(prints) != set(splits_of):
        raise PipelineError(f"{path}: lists other cases than cases.csv; {FIX}")
    findings = []
    for split in SPLITS:
        findings.append(Finding(dataset, "records_listed", split, proof["records"][split]))
        findings.append(Finding(dataset, "records_used", split, proof["cases"][split]))
    for name, key in (("missing", "missing"), ("left_out", "dropped"), ("empty_masks", "empty_masks")):
        findings += _grouped(dataset, name, proof[key])
    if len(proof["grey_images"]) < len(splits_of):
        # In a dataset that is grey throughout, grey images are not news.
        findings += _grouped(
            dataset, "grey_images", [(split, case) for case in proof["grey_images"] for split in splits_of[case]]
        )
    repeats = [(_joined(splits), case) for case, splits in proof["repeated"].items()]
    findings += _grouped(dataset, "listed_more_than_once", repeats)
    pairs = find_pairs(prints)
    for kind, name in (("exact", "identical_pairs"), ("near", "near_duplicate_pairs")):
        found = [
            (splits, f"{pair.first} = {pair.second}")
            for pair in pairs
            if pair.kind == kind
            for splits in _between(splits_of[pair.first], splits_of[pair.second])
        ]
        findings += _grouped(dataset, name, found)
    contradictions = [
        (splits, f"{first} = {second}")
        for first, second in proof["contradictions"]
        for splits in _between(splits_of[first], splits_of[second])
    ]
    findings += _grouped(dataset, "identical_pairs_that_contradict", contradictions)
    if dataset_facts(dataset).sequences:
        findings += _frames(dataset, cases, prints)
    if proof["split"] == "leak_free":
        findings += _leak_free(dataset, cases, prints, proof["moved"])
    return findings + _foreground(dataset, cases)
