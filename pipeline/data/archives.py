"""Find a dataset's archives in a folder, and the images and masks among an archive's members."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.data.members import ArchiveError
from pipeline.data.sources import DATASETS, Archive, Layout, dataset_facts
from pipeline.runtime.errors import PipelineError
from pipeline.runtime.manifest import file_sha256


@dataclass(frozen=True)
class Match:
    """A member that a layout names: its role ("image" or "mask"), its case, and the pattern's groups."""

    member: str
    role: str
    case: str
    groups: dict[str, str]


def find_archive(archive: Archive, folder: str | Path) -> Path | None:
    """The first accepted file of ``archive`` in ``folder``, or the folder of Kaggle's files."""
    paths = [path for name in archive.names if (path := Path(folder) / name).is_file()]
    if archive.kaggle and (unpacked := Path(folder) / archive.kaggle.folder).is_dir():
        paths.append(unpacked)
    return paths[0] if paths else None


def find_archives(dataset: str, folder: str | Path) -> list[tuple[Archive, Path]]:
    """Each archive of ``dataset`` and its path in ``folder``.

    Raises:
        PipelineError: one is missing.
    """
    found = []
    for archive in dataset_facts(dataset).archives:
        path = find_archive(archive, folder)
        if path is None:
            raise PipelineError(f"{dataset}: {folder} has no {' or '.join(archive.names)}; fetch the dataset again")
        found.append((archive, path))
    return found


def archive_sha256(path: Path) -> str:
    """SHA-256 of an archive; of a folder, over the paths and checksums of its files."""
    if path.is_file():
        return file_sha256(path)
    digest = hashlib.sha256()
    for file in sorted(file for file in path.rglob("*") if file.is_file()):
        digest.update(f"{file.relative_to(path).as_posix()}\0{file_sha256(file)}\n".encode())
    return digest.hexdigest()


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
        ArchiveError: no layout fits; the message names the archive that it looks like.
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
    raise ArchiveError(
        f"{path}: not laid out as {dataset}'s {archive.name}: its {len(members)} files start with {start}{looks}"
    )
