"""Files and folders that appear whole or not at all."""

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline.runtime.errors import PipelineError, disk_error


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


@contextlib.contextmanager
def _named(path: Path) -> Iterator[None]:
    """An error of the disk says ``path`` in place of nothing or of a temporary name."""
    try:
        yield
    except PipelineError:
        raise
    except Exception as error:
        name = getattr(error, "filename", None)
        temporary = isinstance(name, str) and Path(name).parent == path.parent and ".partial" in name
        number = error.errno if temporary else disk_error(error) if name is None else None
        if number is None:
            raise
        raise OSError(number, os.strerror(number), str(path)) from error


@contextlib.contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path; on success it is synced and renamed to ``path``, on any error removed.

    It lies in the same folder, so that the rename stays on one file system, and keeps the suffix.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with _named(path):
        handle, name = tempfile.mkstemp(prefix=f".{path.stem}.", suffix=f".partial{path.suffix}", dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            # mkstemp gives 0600; results are meant to be shared like any other file of the user.
            temporary.chmod(0o666 & ~_umask())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Yield an empty temporary folder; on success it takes the place of ``path``, on any error it is removed."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with _named(path):
        temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".partial", dir=path.parent))
        try:
            yield temporary
            temporary.chmod(0o777 & ~_umask())
            for entry in temporary.rglob("*"):
                entry.chmod((0o777 if entry.is_dir() else 0o666) & ~_umask())
            if path.exists():
                shutil.rmtree(path)
            temporary.replace(path)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def write_text(path: str | Path, text: str) -> None:
    """Write ``text`` (UTF-8) to ``path`` atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | Path, value: Any) -> None:
    """Write ``value`` as indented JSON with sorted keys; NaN is refused, as it is not JSON."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n")


def write_csv(path: str | Path, frame: Any) -> None:
    """Write a pandas ``frame`` without its index; floats keep all their digits (``repr``)."""
    write_text(path, frame.to_csv(index=False, lineterminator="\n"))
