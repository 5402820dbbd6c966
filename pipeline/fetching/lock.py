"""Checksums that were unknown before the first download: recorded then, enforced from then on."""

import fcntl
import json
import os
from pathlib import Path

from pipeline.runtime.atomic import write_json
from pipeline.runtime.errors import PipelineError


class Lock:
    """A JSON file {file name: {"sha256", "size", "source"}} that several jobs may use at a time."""

    def __init__(self, path: Path):
        self.path = path

    def _read(self) -> dict[str, dict]:
        try:
            return json.loads(self.path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except ValueError as error:
            raise PipelineError(f"{self.path}: not valid JSON ({error}); fix or remove it") from None

    def expected(self, name: str) -> str | None:
        """The recorded SHA-256 of file ``name``, if there is one."""
        entry = self._read().get(name)
        return entry["sha256"] if entry else None

    def record(self, name: str, sha256: str, size: int, source: str) -> None:
        """Record the file's checksum unless there is one already."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        folder = os.open(self.path.parent, os.O_RDONLY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            entries = self._read()
            if name not in entries:
                write_json(self.path, entries | {name: {"sha256": sha256, "size": size, "source": source}})
        finally:
            os.close(folder)
