"""List and unpack a zip or rar archive, or a folder in place of one, without trusting what the archive says."""

import contextlib
import re
import stat
import zipfile
from collections.abc import Callable, Collection, Iterator
from pathlib import Path, PurePosixPath
from typing import Protocol

from pipeline.data.members import ArchiveError, Member
from pipeline.data.sniff import kind_of_file
from pipeline.runtime.errors import PipelineError

MAX_UNPACKED_BYTES = 16 * 2**30
CHUNK = 2**20
LITTER = re.compile(r"(^|/)(__MACOSX/|\._|\.DS_Store$|Thumbs\.db$|desktop\.ini$)")

Write = Callable[[str, bytes], None]


class Reader(Protocol):
    """How an archive of one format is read."""

    def members(self) -> list[Member]: ...

    def read(self, names: Collection[str], write: Write) -> None:
        """Call ``write`` with name and next bytes of each member in ``names``; the first call of each has no bytes."""


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
                    write(info.filename, b"")
                    with archive.open(info) as file:
                        while data := file.read(CHUNK):
                            write(info.filename, data)


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
            write(name, b"")
            with (self._path / name).open("rb") as file:
                while data := file.read(CHUNK):
                    write(name, data)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Reader]:
    """The reader of an archive; whatever the format's library raises in the block becomes an ArchiveError."""
    kind = "folder" if path.is_dir() else kind_of_file(path)
    if kind not in ("zip", "rar", "folder"):
        raise ArchiveError(f"{path}: {kind} where a zip or rar archive is expected")
    try:
        if kind == "rar":
            # Loading the library takes a tenth of a second that zip archives need not wait for.
            from pipeline.data.rar import RarReader

            yield RarReader(path)
        else:
            yield ZipReader(path) if kind == "zip" else FolderReader(path)
    except PipelineError:
        raise
    except Exception as error:
        # zipfile alone raises a dozen classes for damaged files.
        raise ArchiveError(f"{path}: damaged ({error or type(error).__name__})") from None


def _check(path: Path, member: Member) -> None:
    parts = PurePosixPath(member.name.replace("\\", "/")).parts
    if not parts or parts[0] == "/" or ".." in parts or ":" in parts[0] or "\0" in member.name:
        raise ArchiveError(f"{path}: member {member.name!r} points outside the archive's folder")
    if member.kind == "link":
        raise ArchiveError(f"{path}: member {member.name!r} is a link or a device")


def list_members(path: str | Path) -> list[str]:
    """Paths of the files in an archive, without what macOS and Windows leave there.

    Raises:
        ArchiveError: it is damaged, holds a path or link that leads outside, or one name twice.
    """
    path = Path(path)
    with _opened(path) as reader:
        members = [member for member in reader.members() if not LITTER.search(member.name)]
    names = set()
    for member in members:
        _check(path, member)
        if member.kind == "file":
            if member.name in names:
                raise ArchiveError(f"{path}: holds {member.name!r} twice")
            names.add(member.name)
    return [member.name for member in members if member.kind == "file"]


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
    path, folder, left = Path(path), Path(folder), limit

    def write(name: str, data: bytes) -> None:
        nonlocal left
        left -= len(data)
        if left < 0:
            raise ArchiveError(f"{path}: unpacks to more than {limit / 2**30:.3g} GiB")
        target = member_path(folder, name)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("ab") as file:
                file.write(data)
        except OSError as error:
            raise PipelineError(f"{target}: cannot be written ({error.strerror}); make room and run again") from None

    with _opened(path) as reader:
        reader.read(set(names), write)
    return limit - left


def member_path(folder: str | Path, name: str) -> Path:
    """Where :func:`unpack` puts member ``name``."""
    return Path(folder) / name.replace("\\", "/")
