"""Unpack chosen members of a zip or rar archive, trusting nothing that the archive says."""

import re
import shutil
import stat
import zipfile
import zlib
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Protocol

from pipeline.data.members import Member
from pipeline.data.sniff import kind_of_file
from pipeline.runtime.errors import PipelineError

MAX_UNPACKED_BYTES = 16 * 2**30
LITTER = re.compile(r"(^|/)(__MACOSX/|\._|\.DS_Store$|Thumbs\.db$|desktop\.ini$)")


class Reader(Protocol):
    """What reading an archive takes, whatever its format."""

    damage: tuple[type[Exception], ...]

    def members(self) -> list[Member]: ...

    def contents(self, names: Collection[str]) -> Iterator[tuple[str, Iterable[bytes]]]:
        """Each member of ``names`` with its bytes in pieces, in the archive's order."""


class ZipReader:
    """Reads zip archives with the standard library."""

    damage = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError)

    def __init__(self, path: Path):
        self._path = path

    def members(self) -> list[Member]:
        with zipfile.ZipFile(self._path) as archive:
            return [Member(info.filename, info.file_size, self._kind(info)) for info in archive.infolist()]

    @staticmethod
    def _kind(info: zipfile.ZipInfo) -> str:
        # The upper half of the external attributes holds the Unix mode, 0 where the archive was made elsewhere.
        mode = info.external_attr >> 16
        if mode and stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
            return "link"
        return "folder" if info.is_dir() else "file"

    def contents(self, names: Collection[str]) -> Iterator[tuple[str, Iterable[bytes]]]:
        with zipfile.ZipFile(self._path) as archive:
            for info in archive.infolist():
                if info.filename in names:
                    with archive.open(info) as file:
                        yield info.filename, iter(lambda file=file: file.read(2**20), b"")


def _reader(path: Path) -> Reader:
    kind = kind_of_file(path)
    if kind == "zip":
        return ZipReader(path)
    if kind == "rar":
        # Loading the library takes a tenth of a second that zip archives need not wait for.
        from pipeline.data.rar import RarReader

        return RarReader(path)
    raise PipelineError(f"{path}: {kind}, where a zip or rar archive is expected; remove it and fetch it again")


def _check(path: Path, member: Member) -> None:
    parts = PurePosixPath(member.name.replace("\\", "/")).parts
    if not parts or parts[0] == "/" or ".." in parts or ":" in parts[0] or "\0" in member.name:
        raise PipelineError(f"{path}: member {member.name!r} points outside the archive's folder; not unpacked at all")
    if member.kind == "link":
        raise PipelineError(f"{path}: member {member.name!r} is a link or a device; not unpacked at all")


def list_members(path: str | Path) -> list[str]:
    """Paths of the files in an archive, without what macOS and Windows leave there.

    Raises:
        PipelineError: it is damaged, holds a path or link that leads outside, or one name twice.
    """
    path = Path(path)
    reader = _reader(path)
    try:
        members = [member for member in reader.members() if not LITTER.search(member.name)]
    except reader.damage as error:
        raise PipelineError(f"{path}: damaged ({error}); remove it and fetch it again") from None
    names = set()
    for member in members:
        _check(path, member)
        if member.kind == "file":
            if member.name in names:
                raise PipelineError(f"{path}: holds {member.name!r} twice; remove it and fetch it again")
            names.add(member.name)
    return [member.name for member in members if member.kind == "file"]


def unpack(path: str | Path, folder: str | Path, names: Collection[str], limit: int = MAX_UNPACKED_BYTES) -> int:
    """Write the members ``names``, which :func:`list_members` gave, below ``folder``.

    Args:
        limit: most bytes that may be written; counted as they come, not as the archive declares them.

    Returns:
        bytes written.

    Raises:
        PipelineError: it is damaged or larger than ``limit``.
    """
    path, folder = Path(path), Path(folder)
    reader = _reader(path)
    left = limit
    try:
        for name, pieces in reader.contents(set(names)):
            target = member_path(folder, name)
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("xb") as file:
                for piece in pieces:
                    left -= len(piece)
                    if left < 0:
                        raise PipelineError(
                            f"{path}: unpacks to more than {limit / 2**30:.3g} GiB; is it the right one?"
                        )
                    file.write(piece)
    except reader.damage as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise PipelineError(f"{path}: damaged ({error}); remove it and fetch it again") from None
    except PipelineError:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return limit - left


def member_path(folder: str | Path, name: str) -> Path:
    """Where :func:`unpack` puts member ``name``."""
    return Path(folder) / name.replace("\\", "/")
