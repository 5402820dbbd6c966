"""Find a dataset's archives in a folder, and the images and masks among an archive's members."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.data.sources import DATASETS, Archive, Layout, dataset_facts
from pipeline.runtime.errors import PipelineError


@dataclass(frozen=True)
class Match:
    """A member that a layout names: its role ("image" or "mask"), its case, and what the pattern's groups hold."""

    member: str
    role: str
    case: str
    groups: dict[str, str]


def find_archive(archive: Archive, folder: str | Path) -> Path | None:
    """The file in ``folder`` under the first accepted name that is there."""
    for name in archive.names:
        path = Path(folder) / name
        if path.is_file():
            return path
    return None


def find_archives(dataset: str, folder: str | Path) -> list[tuple[Archive, Path]]:
    """Each archive of ``dataset`` and its file in ``folder``.

    Raises:
        PipelineError: one is not there.
    """
    found = []
    for archive in dataset_facts(dataset).archives:
        path = find_archive(archive, folder)
        if path is None:
            raise PipelineError(f"{dataset}: {folder} has no {' or '.join(archive.names)}; fetch the dataset again")
        found.append((archive, path))
    return found


def _match(layout: Layout, template: str, members: Sequence[str]) -> list[Match]:
    matches = []
    for member in members:
        for role, pattern in (("image", layout.image), ("mask", layout.mask)):
            found = re.search(pattern, member.replace("\\", "/")) if pattern else None
            if found:
                groups = found.groupdict()
                matches.append(Match(member, role, template.format_map(groups), groups))
                break
    return matches


def _complete(layout: Layout, matches: Sequence[Match]) -> bool:
    roles = {match.role for match in matches}
    return all(role in roles for role in ("image", "mask") if getattr(layout, role) is not None)


def match_members(dataset: str, archive: Archive, path: str | Path, members: Sequence[str]) -> list[Match]:
    """The images and masks among ``members`` by the first layout of ``archive`` of which both are found.

    Raises:
        PipelineError: no layout fits; says whose archive it looks like.
    """
    template = dataset_facts(dataset).case
    for layout in archive.layouts:
        matches = _match(layout, template, members)
        if _complete(layout, matches):
            return matches
    others = [
        f"{other}'s {candidate.name}"
        for other in DATASETS
        for candidate in dataset_facts(other).archives
        for layout in candidate.layouts
        if candidate != archive and _complete(layout, _match(layout, dataset_facts(other).case, members))
    ]
    looks = f"; it looks like {others[0]}, are two swapped?" if others else ""
    start = ", ".join(members[:3])
    raise PipelineError(
        f"{path}: not laid out as {dataset}'s {archive.name}: its {len(members)} files start with {start}{looks}; "
        "put the right archive there"
    )
