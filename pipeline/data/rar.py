"""Read rar archives with RARLAB's own code, which the wheels of unrar2-cffi carry: nothing to install on the system."""

import stat
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from unrar.cffi.unrarlib import FLAGS_RHDF_DIRECTORY, BadRarFile, RarArchive, RarHeader

from pipeline.data.members import Member

UNIX = 3


def _size(header: RarHeader) -> int:
    return header.UnpSize + (header.UnpSizeHigh << 32)


def _kind(header: RarHeader) -> str:
    # RAR 5 says so in a field of its own, RAR 4 in the Unix mode.
    mode = header.headerDataEx.FileAttr if header.HostOS == UNIX else 0
    if header.headerDataEx.RedirType or stat.S_ISLNK(mode):
        return "link"
    return "folder" if header.Flags & FLAGS_RHDF_DIRECTORY else "file"


class RarReader:
    """Reads rar archives of versions 1.5 to 7; names come with "/" between their parts."""

    damage = (BadRarFile, UnicodeError)

    def __init__(self, path: Path):
        self._path = path

    def members(self) -> list[Member]:
        with RarArchive.open_for_processing(self._path) as archive:
            result = []
            for header in archive.iterate_headers():
                result.append(Member(header.FileNameW, _size(header), _kind(header)))
                header.skip()
            return result

    def contents(self, names: Collection[str]) -> Iterator[tuple[str, Iterable[bytes]]]:
        with RarArchive.open_for_processing(self._path) as archive:
            for header in archive.iterate_headers():
                if header.FileNameW in names:
                    pieces: list[bytes] = []
                    header.test(pieces.append)
                    yield header.FileNameW, pieces
                else:
                    header.skip()
