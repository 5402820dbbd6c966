"""Errors that a user can act on, and the one way in which a command line reports them."""

import errno
import sys
from collections.abc import Callable


class PipelineError(Exception):
    """A mistake in the input or the surroundings. The message names the file, key or case, and the mend."""


def run_command(main: Callable[[], None]) -> None:
    """Run a module's ``main``; a :class:`PipelineError` becomes one line on stderr and exit status 1."""
    try:
        main()
    except PipelineError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        print(
            f"error: {error.filename or 'output'}: no space left on the disk; free some and run again", file=sys.stderr
        )
        sys.exit(1)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
