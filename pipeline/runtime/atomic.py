"""Files and folders that appear whole or not at all."""

import contextlib
import json
import os
import re
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pipeline.runtime.errors import PipelineError, disk_error

FOREIGN_SECONDS = 24 * 3600
"""Age at which another machine's unfinished file counts as left over; no file takes that long to write."""


def _host() -> str:
    return re.sub(r"[^\w-]", "-", socket.gethostname()) or "localhost"


def _running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _clear_leftovers(path: Path) -> None:
    """Remove what killed writers of ``path`` left beside it; of another machine's, what is old."""
    pattern = re.compile(re.escape(f".{path.name}.") + r"([\w-]+)\.(\d+)\.\w+\.partial")
    for entry in path.parent.iterdir():
        found = pattern.match(entry.name)
        if not found:
            continue
        # Another writer may be removing it, too.
        with contextlib.suppress(OSError):
            old = time.time() - entry.stat().st_mtime > FOREIGN_SECONDS
            if old if found[1] != _host() else not _running(int(found[2])):
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()


def _temporary_beside(path: Path, make: Callable[..., Any], suffix: str) -> Any:
    """A new name in the same folder, so that the rename stays on one file system, that tells its writer."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _clear_leftovers(path)
    return make(prefix=f".{path.name}.{_host()}.{os.getpid()}.", suffix=f".partial{suffix}", dir=path.parent)


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
    """Yield a temporary path; on success it is synced and renamed to ``path``, on any error removed."""
    path = Path(path)
    with _named(path):
        # The suffix stays: matplotlib and others choose the format by it.
        handle, name = _temporary_beside(path, tempfile.mkstemp, path.suffix)
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
    with _named(path):
        temporary = Path(_temporary_beside(path, tempfile.mkdtemp, ""))
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


def write_json(path: str | Path, value: Any, indent: int | None = 2) -> None:
    """Write ``value`` as JSON with sorted keys; NaN is refused, as it is not JSON.

    Args:
        indent: None for large files that nobody reads, which takes a tenth of the time.
    """
    write_text(path, json.dumps(value, indent=indent, sort_keys=True, allow_nan=False) + "\n")


def read_json(path: str | Path, kind: type[dict] | type[list], fix: str) -> Any:
    """The content of a JSON file, an object (dict) or a list.

    Raises:
        PipelineError: it is missing, not JSON or of the other type; ends with ``fix``.
    """
    try:
        value = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise PipelineError(f"{path}: cannot be read ({error.strerror}); {fix}") from None
    except (ValueError, RecursionError) as error:
        raise PipelineError(f"{path}: not valid JSON ({error}); {fix}") from None
    if not isinstance(value, kind):
        raise PipelineError(f"{path}: must be a JSON {'object' if kind is dict else 'list'}; {fix}")
    return value


def write_csv(path: str | Path, frame: Any) -> None:
    """Write a pandas ``frame`` without its index; floats keep all their digits (``repr``)."""
    write_text(path, frame.to_csv(index=False, lineterminator="\n"))
