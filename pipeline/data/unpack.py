"""List and unpack a zip, rar or tar archive, or a folder in place of one, without trusting what the archive says."""

import contextlib
import re
import stat
import zipfile
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import IO, Protocol

from pipeline.data.members import ArchiveError, Member
from pipeline.data.sniff import ARCHIVES, kind_of_file
from pipeline.data.tar import TarReader
from pipeline.runtime.errors import PipelineError

MAX_UNPACKED_BYTES = 16 * 2**30
CHUNK = 2**20
LITTER = re.compile(r"(^|/)(__MACOSX/|\._|\.DS_Store$|Thumbs\.db$|desktop\.ini$)")

Write = Callable[[str, bytes], None]


class Reader(Protocol):
    """How an archive of one format is read."""

    def members(self) -> list[Member]: ...

    def read(self, names: Collection[str], write: Write) -> None:
        """Call ``write`` with name and next bytes of each member in ``names``, at least once for each."""


def _write_pieces(name: str, file: IO[bytes], write: Write) -> None:
    write(name, file.read(CHUNK))
    while data := file.read(CHUNK):
        write(name, data)


class ZipReader:
    """Reads zip archives with the standard library."""

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

    def read(self, names: Collection[str], write: Write) -> None:
        with zipfile.ZipFile(self._path) as archive:
            for info in archive.infolist():
                if info.filename in names:
                    with archive.open(info) as file:
                        _write_pieces(info.filename, file, write)


class FolderReader:
    """Reads an unpacked archive, as Kaggle's client leaves it."""

    def __init__(self, path: Path):
        self._path = path

    def members(self) -> list[Member]:
        return [
            Member(path.relative_to(self._path).as_posix(), path.lstat().st_size, self._kind(path))
            for path in sorted(self._path.rglob("*"))
        ]

    @staticmethod
    def _kind(path: Path) -> str:
        mode = path.lstat().st_mode
        return "file" if stat.S_ISREG(mode) else "folder" if stat.S_ISDIR(mode) else "link"

    def read(self, names: Collection[str], write: Write) -> None:
        for name in sorted(names):
            with (self._path / name).open("rb") as file:
                _write_pieces(name, file, write)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Reader]:
    """The reader of an archive; whatever the format's library raises in the block becomes an ArchiveError."""
    kind = "folder" if path.is_dir() else kind_of_file(path)
    if kind not in (*ARCHIVES, "folder"):
        raise ArchiveError(f"{path}: {kind} where a zip, rar or tar archive is expected")
    try:
        if kind == "rar":
            # Loading the library takes a tenth of a second that zip archives need not wait for.
            from pipeline.data.rar import RarReader

            yield RarReader(path)
        else:
            readers = {"zip": ZipReader, "folder": FolderReader}
            yield readers[kind](path) if kind in readers else TarReader(path, kind == "tar.gz", MAX_UNPACKED_BYTES)
    except PipelineError:
        raise
    except Exception as error:
        # zipfile alone raises a dozen classes for damaged files.
        raise ArchiveError(f"{path}: damaged ({error or type(error).__name__})") from None


def _parts(path: Path, member: Member) -> tuple[str, ...]:
    """The parts of a member's path, without those that change nothing: a//b and ./a/b are a/b."""
    name = member.name.replace("\\", "/")
    parts = tuple(part for part in name.split("/") if part not in ("", "."))
    if not parts or name[0] == "/" or ".." in parts or ":" in parts[0] or "\0" in name:
        raise ArchiveError(f"{path}: member {member.name!r} points outside the archive's folder")
    if member.kind == "link":
        raise ArchiveError(f"{path}: member {member.name!r} is a link or a device")
    return parts


def list_members(path: str | Path) -> dict[str, int]:
    """Paths of the files in an archive and their declared bytes, without what macOS and Windows leave there.

    Raises:
        ArchiveError: it is damaged, holds a path or link that leads outside, or two members at one place.
    """
    path = Path(path)
    with _opened(path) as reader:
        members = [member for member in reader.members() if not LITTER.search(member.name)]
    places = [_parts(path, member) for member in members]
    files: dict[tuple[str, ...], Member] = {}
    for place, member in zip(places, members, strict=True):
        if member.kind == "file":
            if place in files:
                raise ArchiveError(f"{path}: holds {member.name!r} twice")
            files[place] = member
    folders = {place[:-1] for place in places}
    for above in {folder[:depth] for folder in folders for depth in range(1, len(folder) + 1)}:
        if above in files:
            raise ArchiveError(f"{path}: {files[above].name!r} is both a file and a folder")
    return {member.name: member.size for member in files.values()}


def _read(path: Path, names: Collection[str], limit: int, write: Write) -> int:
    left = limit

    def count(name: str, data: bytes) -> None:
        nonlocal left
        left -= len(data)
        if left < 0:
            raise ArchiveError(f"{path}: unpacks to more than {limit / 2**30:.3g} GiB")
        write(name, data)

    with _opened(path) as reader:
        reader.read(set(names), count)
    return limit - left


def check_members(path: str | Path, names: Collection[str], limit: int = MAX_UNPACKED_BYTES) -> None:
    """Read the members ``names`` to the end, which verifies their checksums, and write nothing.

    Raises:
        ArchiveError: the archive is damaged or larger than ``limit``.
    """
    _read(Path(path), names, limit, lambda name, data: None)


def unpack(path: str | Path, folder: str | Path, names: Collection[str], limit: int = MAX_UNPACKED_BYTES) -> int:
    """Write the members ``names``, which :func:`list_members` gave, below ``folder``.

    Args:
        limit: most bytes that may be written; counted as they come, not as the archive declares them.

    Returns:
        bytes written.

    Raises:
        ArchiveError: it is damaged or larger than ``limit``.
        PipelineError: a file cannot be written.
    """
    made: set[Path] = set()

    def write(name: str, data: bytes) -> None:
        target = member_path(folder, name)
        try:
            if target.parent not in made:
                target.parent.mkdir(parents=True, exist_ok=True)
                made.add(target.parent)
            with target.open("ab") as file:
                file.write(data)
        except OSError as error:
            raise PipelineError(f"{target}: cannot be written ({error.strerror}); make room and run again") from None

    return _read(Path(path), names, limit, write)


def member_path(folder: str | Path, name: str) -> Path:
    """Where :func:`unpack` puts member ``name``."""
    return Path(folder) / name.replace("\\", "/")
