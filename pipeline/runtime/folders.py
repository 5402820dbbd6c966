"""Whether results can be written, asked before any job runs: where they cannot, Snakemake ends in a traceback."""

import errno
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from pipeline.runtime.errors import FIXES, PipelineError


def check_writable(results: str | Path, folders: Iterable[str | Path]) -> None:
    """Check that ``results`` takes a file, and that ``folders`` are folders with the right to write, or can be made.

    Raises:
        PipelineError: one of them is not; the message names the path and the fix.
    """
    for place in sorted({_existing(folder) for folder in (results, *folders)}):
        if not place.is_dir():
            raise PipelineError(f"{place}: {FIXES[errno.ENOTDIR]}")
        if not os.access(place, os.W_OK | os.X_OK):
            read_only = os.statvfs(place).f_flag & os.ST_RDONLY
            raise PipelineError(f"{place}: {FIXES[errno.EROFS if read_only else errno.EACCES]}")
    place = _existing(results)
    try:
        with tempfile.TemporaryFile(dir=place) as file:
            file.write(bytes(1 << 16))
    except OSError as error:
        raise PipelineError(f"{place}: {FIXES.get(error.errno, error.strerror)}") from None


def _existing(folder: str | Path) -> Path:
    """``folder``, or the one above it in which it would be made."""
    folder = Path(folder).absolute()
    return next(place for place in (folder, *folder.parents) if os.path.lexists(place))
