"""Start a step: ``python -m pipeline.runtime.start [--gpus N] MODULE ...`` is ``python -m MODULE ...``, supervised.

The step runs in a child of this process: forked from here (a cold start), or from the server of imported libraries that
belongs to this Snakemake invocation, if there is one (:mod:`pipeline.runtime.warm`). Either way

- the step ends with its surroundings: when this process, the shell or Snakemake itself is killed, so is the step, at
  once. Nothing of an old run can be written into the results of a new one;
- a step that is killed, as by the kernel when memory runs out, leaves a line in its log;
- signals are passed on, and the exit status is the step's (128 + N for signal N).
"""

import os
import select
import signal
import sys
from pathlib import Path

from pipeline.runtime.gpus import GRANTED
from pipeline.runtime.warm import SERVER, Connection, die_with_parent, run_step, send

# "PID@NAMESPACE" of the Snakemake that runs jobs on this machine.
SNAKEMAKE = "PIPELINE_SNAKEMAKE"
USAGE = "usage: python -m pipeline.runtime.start [--gpus N] MODULE [ARGUMENT ...]"


def belong_to_this_process() -> None:
    """Have the steps that jobs of this process start end with it. For the Snakemake process itself, Linux only."""
    if sys.platform == "linux":
        os.environ[SNAKEMAKE] = f"{os.getpid()}@{_namespace()}"


def _namespace() -> str:
    return str(Path("/proc/self/ns/pid").readlink())


def _ancestors() -> list[int]:
    """Handles (pidfd) of our parent, its parent and so on up to Snakemake; none where no Snakemake started us.

    Raises:
        ProcessLookupError: one of them has ended already.
    """
    last, _, namespace = os.environ.get(SNAKEMAKE, "").partition("@")
    if not last or namespace != _namespace():
        return []
    handles, process = [], os.getpid()
    while process != int(last):
        process = int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
        if process == 0:
            raise ProcessLookupError("Snakemake is not among the ancestors")
        handles.append(os.pidfd_open(process))
    return handles


class _Forked:
    """The step in a child of this process."""

    def __init__(self, module: str, arguments: list[str]):
        parent = os.getpid()
        self.process = os.fork()
        if self.process == 0:
            os.setsid()
            die_with_parent(parent)
            # What the step raises, SystemExit too, leaves this process as it would leave `python -m`.
            run_step(module, arguments)
            sys.exit()
        self.ended = os.pidfd_open(self.process) if hasattr(os, "pidfd_open") else None

    def status(self) -> int:
        """Wait; the exit status, negative for a signal."""
        return os.waitstatus_to_exitcode(os.waitpid(self.process, 0)[1])


def call(module: str, arguments: list[str]) -> int:
    """Run ``module`` as a step; its exit status."""
    try:
        ancestors = _ancestors()
    except OSError:
        print("error: the Snakemake that started this step has ended; run it again", file=sys.stderr)
        return 1
    step = Connection.open(module, arguments)
    if step is None:
        if SERVER in os.environ:
            print("started cold: the server of libraries is gone, or not for such surroundings", file=sys.stderr)
        step = _Forked(module, arguments)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda received, _: send(step.process, received))
    if ancestors:
        poll = select.poll()
        for handle in (step.ended, *ancestors):
            poll.register(handle, select.POLLIN)
        if any(handle in ancestors for handle, _ in poll.poll()):
            send(step.process, signal.SIGKILL)
            step.status()
            print("error: stopped, as the Snakemake that started this step was killed", file=sys.stderr)
            return 1
    status = step.status()
    if status >= 0:
        return status
    if -status == signal.SIGKILL:
        print(
            f"error: {module} was killed (SIGKILL), as happens when memory runs out; if it did, give its rule more:"
            " --set-resources RULE:mem_mb=MIB",
            file=sys.stderr,
        )
    else:
        print(f"error: {module} was ended by {signal.Signals(-status).name}", file=sys.stderr)
    return 128 - status


def main() -> None:
    arguments = sys.argv[1:]
    if arguments[:1] == ["--gpus"]:
        if arguments[1:2] != ["0"]:
            os.environ[GRANTED] = arguments[1]
        arguments = arguments[2:]
    if not arguments or arguments[0].startswith("-"):
        sys.exit(USAGE)
    sys.exit(call(arguments[0], arguments[1:]))


if __name__ == "__main__":
    main()
