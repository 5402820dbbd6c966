"""Read tar archives, plain or packed by gzip, with the standard library."""

import gzip
import tarfile
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import IO

from pipeline.data.members import ArchiveError, Member

CHUNK = 2**20


class _Pieces:
    """A file of which no more than :data:`CHUNK` is read at a time.

    :mod:`tarfile` reads extended headers whole, however large they say they are.
    """

    def __init__(self, path: Path, file: IO[bytes]):
        self._path, self._file = path, file
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int) -> bytes:
        if size > CHUNK:
            raise ArchiveError(f"{self._path}: damaged (a header of {size} bytes)")
        return self._file.read(size)


class TarReader:
    """Reads tar archives from front to back; ``limit`` is the most bytes that its members may declare."""

    def __init__(self, path: Path, packed: bool, limit: int):
        self._path, self._packed, self._limit = path, packed, limit

    def _entries(self) -> Iterator[tuple[tarfile.TarFile, tarfile.TarInfo]]:
        declared = 0
        with gzip.open(self._path) if self._packed else self._path.open("rb") as file:
            with tarfile.open(fileobj=_Pieces(self._path, file), mode="r:") as archive:
                for info in archive:
                    # Going on to the next member decompresses this one.
                    declared += info.size
                    if declared > self._limit:
                        raise ArchiveError(f"{self._path}: unpacks to more than {self._limit / 2**30:.3g} GiB")
                    yield archive, info
            # The end of the file holds gzip's checksum.
            while file.read(CHUNK):
                pass

    def members(self) -> list[Member]:
        return [
            Member(info.name, info.size, "file" if info.isreg() else "folder" if info.isdir() else "link")
            for _, info in self._entries()
        ]

    def read(self, names: Collection[str], write: Callable[[str, bytes], None]) -> None:
        for archive, info in self._entries():
            if info.name in names:
                with archive.extractfile(info) as file:
                    write(info.name, file.read(CHUNK))
                    while data := file.read(CHUNK):
                        write(info.name, data)
