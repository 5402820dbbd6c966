"""Read rar archives with RARLAB's own code, which the wheels of unrar2-cffi carry: nothing to install on the system."""

import stat
from collections.abc import Callable, Collection
from pathlib import Path

from unrar.cffi.unrarlib import FLAGS_RHDF_DIRECTORY, RarArchive, RarHeader

from pipeline.data.members import Member

UNIX = 3


def _kind(header: RarHeader) -> str:
    # RAR 5 has a field for it, RAR 4 the Unix mode.
    mode = header.headerDataEx.FileAttr if header.HostOS == UNIX else 0
    if header.headerDataEx.RedirType or stat.S_ISLNK(mode):
        return "link"
    return "folder" if header.Flags & FLAGS_RHDF_DIRECTORY else "file"


class RarReader:
    """Reads rar archives of versions 1.5 to 7; names come with "/" between their parts."""

    def __init__(self, path: Path):
        self._path = path

    def members(self) -> list[Member]:
        with RarArchive.open_for_processing(self._path) as archive:
            result = []
            for header in archive.iterate_headers():
                size = header.UnpSize + (header.UnpSizeHigh << 32)
                result.append(Member(header.FileNameW, size, _kind(header)))
                header.skip()
            return result

    def read(self, names: Collection[str], write: Callable[[str, bytes], None]) -> None:
        with RarArchive.open_for_processing(self._path) as archive:
            for header in archive.iterate_headers():
                if header.FileNameW in names:
                    _read(header, write)
                else:
                    header.skip()


def _read(header: RarHeader, write: Callable[[str, bytes], None]) -> None:
    name, failures = header.FileNameW, []

    def keep(data: bytes) -> None:
        # The C code that calls this would drop an exception and go on.
        if not failures:
            try:
                write(name, data)
            except Exception as error:
                failures.append(error)

    write(name, b"")
    try:
        header.test(keep)
    finally:
        if failures:
            raise failures[0]
