"""Errors that a user can act on, and the one way in which a command line reports them."""

import errno
import os
import signal
import sys
from collections.abc import Callable

FIXES = {
    errno.ENOSPC: "no space left on the disk; free some and run again",
    errno.EDQUOT: "your quota is used up; free some space and run again",
    errno.EROFS: "on a file system that is read-only; let `results` name another folder",
    errno.EACCES: "permission denied; give yourself the rights, or name another folder",
    errno.EPERM: "operation not permitted; give yourself the rights, or name another folder",
    errno.ENOTDIR: "a file stands where a folder belongs; move it away",
    errno.EEXIST: "a file stands where a folder belongs; move it away",
    errno.EISDIR: "a folder stands where a file belongs; move it away",
    errno.ENOENT: "no such file or folder; run the step that makes it, or correct the path",
    errno.EIO: "the disk or network drive failed; run again when it works",
    errno.ESTALE: "the network drive has lost the file; run again",
    errno.ENAMETOOLONG: "the name is too long for this file system; use a shorter path",
}
# Errors of the disk itself, in whatever library's words: those that write in C or Rust raise errors of their own.
DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)
DISK_WORDS = {os.strerror(number): number for number in DISK} | {"requested and": errno.ENOSPC}  # numpy's


class PipelineError(Exception):
    """A mistake in the input or the surroundings. The message names the file, key or case, and the fix."""


def disk_error(error: BaseException | None) -> int | None:
    """The system's number for an error of the disk, or for one that it led to; None for any other error."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in DISK:
            return error.errno
        for words, number in DISK_WORDS.items():
            if words in str(error):
                return number
        error = error.__context__
    return None


def _line(error: Exception) -> str | None:
    """One line for an error of the surroundings (disk, rights, memory); None for any other, which is a bug."""
    if isinstance(error, MemoryError):
        return "memory ran out; give the rule more: --set-resources RULE:mem_mb=MIB"
    if isinstance(error, OSError) and "No usable temporary directory" in str(error):
        return "no temporary folder can be written to; let TMPDIR name one that can"
    number = error.errno if isinstance(error, OSError) and error.errno in FIXES else disk_error(error)
    if number is None:
        return None
    paths = [getattr(error, name, None) for name in ("filename", "filename2")]
    names = " -> ".join(os.fsdecode(path) for path in paths if isinstance(path, str | bytes | os.PathLike))
    return f"{names or 'output'}: {FIXES[number]}"


def run_command(main: Callable[[], None]) -> None:
    """Run a module's ``main``; an error that a user can act on becomes one line on stderr and exit status 1.

    SIGTERM ends ``main`` as an error does, so that what is half written is removed.
    """

    def stop(number: int, _) -> None:
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, stop)
    try:
        main()
        sys.stdout.flush()
    except BrokenPipeError:  # who reads the output, such as `head`, has enough of it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(128 + signal.SIGPIPE)
    except PipelineError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except Exception as error:
        line = _line(error)
        if line is None:
            raise
        print(f"error: {line}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
