"""Checksums that were unknown before the first download: recorded then, enforced from then on."""

import fcntl
import os
from pathlib import Path
from typing import Any

from pipeline.runtime.atomic import read_json, write_json
from pipeline.runtime.errors import PipelineError

FIX = "correct or remove it"


class Lock:
    """A JSON file {name: {"sha256", "size", "source", ...}} that several jobs may use at a time."""

    def __init__(self, path: Path):
        self.path = path

    def _read(self) -> dict[str, dict]:
        if not self.path.exists():
            return {}
        entries = read_json(self.path, dict, FIX)
        for name, entry in entries.items():
            if not isinstance(entry, dict) or not isinstance(entry.get("sha256"), str):
                raise PipelineError(f"{self.path}: no checksum of {name}; {FIX}")
        return entries

    def entry(self, name: str) -> dict[str, Any]:
        """All that is recorded of file ``name``; nothing if it is not there."""
        return self._read().get(name, {})

    def expected(self, name: str) -> str | None:
        """The recorded SHA-256 of file ``name``, if there is one."""
        return self.entry(name).get("sha256")

    def record(self, name: str, sha256: str, size: int, source: str, **more: Any) -> None:
        """Record the file's checksum, and ``more`` about it, unless there is one already."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        folder = os.open(self.path.parent, os.O_RDONLY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            entries = self._read()
            if name not in entries:
                write_json(self.path, entries | {name: {"sha256": sha256, "size": size, "source": source, **more}})
        finally:
            os.close(folder)
