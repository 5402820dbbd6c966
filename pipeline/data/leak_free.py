"""The split leak_free: related cases on one side of the published splits, as few moved as that takes.

Related are cases of one patient or video sequence, identical images, near duplicates, and successive video frames of
one scene; so are those that are related to the same third case.
"""

import dataclasses
import math
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from scipy.cluster.hierarchy import DisjointSet

from pipeline.data.fingerprints import Fingerprint, find_pairs, find_scenes
from pipeline.data.sources import SPLITS
from pipeline.data.splits import Record
from pipeline.runtime.errors import PipelineError

TOLERANCE = 0.05
"""Share by which the size of a split may differ from the published one."""
IMPOSSIBLE = -1


def related(
    fingerprints: Mapping[str, Fingerprint], subjects: Mapping[str, str], frames: bool
) -> list[tuple[str, ...]]:
    """Groups of at least two related cases, each sorted by name, in the order of their first ones.

    Args:
        subjects: patient or video sequence of each case; "" where it is not known.
        frames: whether cases are numbered video frames.
    """
    cases = sorted(fingerprints)
    fingerprints = {case: fingerprints[case] for case in cases}
    sets, first = DisjointSet(cases), {}
    for case in cases:
        if subject := subjects.get(case):
            sets.merge(case, first.setdefault(subject, case))
    for pair in find_pairs(fingerprints):
        sets.merge(pair.first, pair.second)
    for one, two in find_scenes(fingerprints) if frames else ():
        sets.merge(one, two)
    return sorted(tuple(sorted(members)) for members in sets.subsets() if len(members) > 1)


def _assign(counts: Sequence[Counter], alone: Counter, sizes: Counter) -> list[str] | None:
    """The split of each group; None if none keeps the sizes.

    Dynamic programming over the groups; the state is how many cases they bring to test and to val. It is exact: of all
    assignments within :data:`TOLERANCE` it finds one that leaves most test cases where they are, of these most val
    cases, then most train cases; of those left, the sizes nearest to the published ones.

    Args:
        counts: cases by published split, of each group. alone: of the cases without a group. sizes: of all.
    """
    low = {split: math.ceil((1 - TOLERANCE) * sizes[split]) for split in SPLITS}
    high = {split: math.floor((1 + TOLERANCE) * sizes[split]) for split in SPLITS}
    room = {split: high[split] - alone[split] for split in ("test", "val")}
    weight = {"train": 1, "val": sizes.total() + 1, "test": (sizes.total() + 1) ** 2}
    best = np.full((room["test"] + 1, room["val"] + 1), IMPOSSIBLE, dtype=np.int64)
    best[0, 0] = 0
    choices = []
    for group in counts:
        size, options = group.total(), []
        for split in SPLITS:
            moved = np.full_like(best, IMPOSSIBLE)
            test, val = (size * (split == name) for name in ("test", "val"))
            part = best[: max(0, len(best) - test), : max(0, best.shape[1] - val)]
            moved[test:, val:] = np.where(part == IMPOSSIBLE, part, part + weight[split] * group[split])
            options.append(moved)
        choices.append(np.argmax(options, axis=0).astype(np.uint8))
        best = np.max(options, axis=0)
    found = []
    for test, val in np.argwhere(best != IMPOSSIBLE).tolist():
        new = {"test": alone["test"] + test, "val": alone["val"] + val}
        new["train"] = sizes.total() - sum(new.values())
        if all(low[split] <= new[split] <= high[split] for split in SPLITS):
            distance = sum(abs(new[split] - sizes[split]) for split in SPLITS)
            found.append((-int(best[test, val]), distance, test, val))
    if not found:
        return None
    _, _, test, val = min(found)
    assigned = []
    for group, choice in zip(reversed(counts), reversed(choices), strict=True):
        assigned.append(SPLITS[choice[test, val]])
        test -= group.total() * (assigned[-1] == "test")
        val -= group.total() * (assigned[-1] == "val")
    return assigned[::-1]


def separate(records: Sequence[Record], groups: Sequence[Sequence[str]]) -> list[Record]:
    """``records`` with the cases of each group in one split: train first, within a split in their order.

    Args:
        records: no case twice.
        groups: of :func:`related`; cases without a record are left out.

    Raises:
        PipelineError: no assignment of the groups keeps each split's size within :data:`TOLERANCE`.
    """
    split_of = {record.case: record.split for record in records}
    members = [[case for case in group if case in split_of] for group in groups]
    members = [group for group in members if len(group) > 1]
    grouped = {case for group in members for case in group}
    sizes = Counter(split_of.values())
    alone = Counter(split for case, split in split_of.items() if case not in grouped)
    assigned = _assign([Counter(split_of[case] for case in group) for group in members], alone, sizes)
    if assigned is None:
        raise PipelineError(
            f"split leak_free: {len(members)} groups of related cases, the largest of {max(map(len, members))}, cannot "
            f"be divided so that each split keeps its size within {TOLERANCE:.0%}; use split: deduplicated"
        )
    split_of |= {case: split for group, split in zip(members, assigned, strict=True) for case in group}
    moved = [dataclasses.replace(record, split=split_of[record.case]) for record in records]
    return sorted(moved, key=lambda record: SPLITS.index(record.split))
