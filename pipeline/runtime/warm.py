"""A server that has imported torch and its kin, from which the steps of one Snakemake invocation are forked.

Importing them takes seconds, more than a short training does. The server is a child of the Snakemake process
(:func:`start_server`, called when jobs are about to run on this machine; never for a cluster's jobs) and ends with it;
its children end with it and with their callers. It listens on a socket without a file, under a random name in Linux's
abstract namespace, and talks to its own user only; callers ask who serves them likewise.

A forked step must be what a cold one would have been. What a child has from the server and not from its caller
(environment at the time of the imports, limits, umask, processors, cgroup, namespaces, user, Python) is compared, and a
caller that differs is refused: it starts cold. So does one that finds no server, for whatever reason.
"""

import contextlib
import ctypes
import gc
import importlib
import json
import os
import resource
import runpy
import select
import signal
import socket
import struct
import sys
from pathlib import Path

SERVER = "PIPELINE_WARM_START"
PROJECT = "pipeline"
LIBRARIES = ("torch", "transformers.models.clipseg.modeling_clipseg", "transformers.models.clip.tokenization_clip")
LIBRARIES += ("pandas", "scipy.ndimage", "PIL.Image", "safetensors.torch", "tqdm", "matplotlib.pyplot", "seaborn")

# What a shell sets for itself, and this project's own variables, which no library reads.
OWN_VARIABLES = ("PWD", "OLDPWD", "SHLVL", "_")
PR_SET_PDEATHSIG = 1


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process, at once, when ``parent`` ends, which started it."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def run_step(module: str, arguments: list[str]) -> None:
    """Run ``module`` as ``python -m`` does, in a process that has been forked for it."""
    # The project's own modules are read anew: an edit counts at once.
    for name in [name for name in sys.modules if name.split(".")[0] == PROJECT]:
        del sys.modules[name]
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def send(process: int, number: int) -> None:
    """Send a signal to a step and what it has started, or nothing if it has ended."""
    with contextlib.suppress(ProcessLookupError):
        try:
            os.killpg(process, number)
        except ProcessLookupError:
            # It has not yet made its group.
            os.kill(process, number)


def start_server() -> None:
    """Start a server for the jobs of this process and put its name into the environment. Linux only; else nothing."""
    if sys.platform != "linux":
        return
    import subprocess  # here, as a caller can do without, and starts once for each job

    name = f"telescopic-benchmark-{os.urandom(16).hex()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(f"\0{name}")
        listener.listen(128)
        subprocess.Popen(
            [sys.executable, "-m", f"{PROJECT}.runtime.warm", str(listener.fileno()), str(os.getpid())],
            cwd=Path(__file__).parents[2],
            pass_fds=[listener.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    os.environ[SERVER] = name


def _peer(connection: socket.socket) -> int:
    """The user at the other end, as the kernel knows it."""
    size = struct.calcsize("3i")
    _, user, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
    return user


def _libraries_environment() -> dict[str, str]:
    """The variables that a library may read when it is imported."""
    return {
        name: value
        for name, value in os.environ.items()
        if name not in OWN_VARIABLES and not name.startswith("PIPELINE_")
    }


def _surroundings() -> list:
    """What a forked process has from its parent and cannot be sure to change, ready for JSON."""
    umask = os.umask(0o077)
    os.umask(umask)
    limits = sorted(name for name in dir(resource) if name.startswith("RLIMIT_"))
    namespaces = ("cgroup", "ipc", "mnt", "net", "pid", "user", "uts")
    return [
        [sys.prefix, sys.version],
        [os.getresuid(), os.getresgid(), sorted(os.getgroups())],
        [resource.getrlimit(getattr(resource, name)) for name in limits],
        [umask, os.getpriority(os.PRIO_PROCESS, 0), sorted(os.sched_getaffinity(0))],
        Path("/proc/self/cgroup").read_text(),
        [str(Path(f"/proc/self/ns/{name}").readlink()) for name in namespaces],
    ]


# -------------------------------------------------------------------- caller


class Connection:
    """The step in a child of the server."""

    def __init__(self, connection: socket.socket, process: int):
        self.process = process
        self._connection = connection
        self.ended = connection.fileno()

    @classmethod
    def open(cls, module: str, arguments: list[str]) -> "Connection | None":
        """Have the server run ``module``; None if there is none, or none that fits."""
        name = os.environ.get(SERVER)
        if not name:
            return None
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        with contextlib.suppress(OSError, ValueError):
            request = {
                "module": module,
                "arguments": arguments,
                "folder": str(Path.cwd()),
                "environment": dict(os.environ),
                "libraries_environment": _libraries_environment(),
                "surroundings": _surroundings(),
            }
            payload = json.dumps(request).encode()
            connection.connect(f"\0{name}")
            if _peer(connection) == os.getuid():
                socket.send_fds(connection, [len(payload).to_bytes(8, "big")], [0, 1, 2])
                connection.sendall(payload)
                # The child's process id; nothing if the server refused or is gone.
                return cls(connection, int(connection.recv(64)))
        connection.close()
        return None

    def status(self) -> int:
        """Wait; the exit status, negative for a signal."""
        with self._connection, contextlib.suppress(OSError, ValueError):
            return int(self._connection.recv(64))
        # The server was killed, and its child with it: return when that has happened.
        with contextlib.suppress(OSError):
            select.select([os.pidfd_open(self.process)], [], [])
        return -signal.SIGKILL


# -------------------------------------------------------------------- server


class _Server:
    def __init__(self, listener: socket.socket, snakemake: int):
        self.listener = listener
        self.snakemake = snakemake
        self.surroundings = json.loads(json.dumps(_surroundings()))
        self.environment: dict[str, str] | None = None
        self.children: dict[int, socket.socket] = {}

    def run(self) -> None:
        """Serve until Snakemake has ended."""
        die_with_parent(self.snakemake)
        # SIGCHLD ends the waiting for calls, so that a child's status is passed on at once.
        woken, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        while True:
            readable, _, _ = select.select([woken, self.listener, *self.children.values()], [], [])
            if woken in readable:
                os.read(woken, 1 << 16)
                self._reap()
            for process in [process for process, connection in self.children.items() if connection in readable]:
                # A caller says nothing after its request: it is gone.
                send(process, signal.SIGKILL)
                self.children.pop(process).close()
            if self.listener in readable:
                self._accept()

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while True:
                process, status = os.waitpid(-1, os.WNOHANG)
                if not process:
                    return
                if process in self.children:
                    with self.children.pop(process) as connection, contextlib.suppress(OSError):
                        connection.sendall(str(os.waitstatus_to_exitcode(status)).encode())

    def _accept(self) -> None:
        connection, _ = self.listener.accept()
        if _peer(connection) != os.getuid():
            connection.close()
            return
        descriptors: list[int] = []
        try:
            # A caller that stops in the middle must not stop the others.
            connection.settimeout(10)
            request = self._receive(connection, descriptors)
            connection.settimeout(None)
            if self._fits(request):
                self._fork(request, descriptors, connection)
                return
        except (OSError, ValueError):
            pass
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        connection.close()

    @staticmethod
    def _receive(connection: socket.socket, descriptors: list[int]) -> dict:
        header, received, _, _ = socket.recv_fds(connection, 8, 3)
        descriptors += received
        length, data = int.from_bytes(header, "big"), b""
        while len(data) < length:
            part = connection.recv(min(1 << 16, length - len(data)))
            if not part:
                raise ConnectionError("the caller closed its connection")
            data += part
        if len(descriptors) != 3:
            raise ValueError("three standard streams were expected")
        return json.loads(data)

    def _fits(self, request: dict) -> bool:
        """Import the libraries, at the first call, in its environment; whether ``request`` is from the same."""
        if request["surroundings"] != self.surroundings:
            return False
        if self.environment is None:
            self.environment = request["libraries_environment"]
            os.environ.clear()
            os.environ.update(self.environment)
            for library in LIBRARIES:
                importlib.import_module(library)
            # Children share the pages of what was imported as long as the collector does not touch them.
            gc.freeze()
        return request["libraries_environment"] == self.environment

    def _fork(self, request: dict, descriptors: list[int], connection: socket.socket) -> None:
        server = os.getpid()
        process = os.fork()
        if process:
            self.children[process] = connection
            with contextlib.suppress(OSError):
                connection.sendall(str(process).encode())
            return
        status = 1
        try:
            os.setsid()
            die_with_parent(server)
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for other in (self.listener, connection, *self.children.values()):
                other.close()
            status = _run(request, descriptors)
        finally:
            os._exit(status)


def _run(request: dict, descriptors: list[int]) -> int:
    """Become the caller's step; its exit status."""
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
        os.close(descriptor)
    sys.stdin, sys.stdout, sys.stderr = (open(number, mode, closefd=False) for number, mode in enumerate("rww"))  # noqa: SIM115
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.path[0] = request["folder"]
    try:
        run_step(request["module"], request["arguments"])
        status = 0
    except SystemExit as error:
        if isinstance(error.code, str):
            print(error.code, file=sys.stderr)
        status = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        status = 1
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    return status


if __name__ == "__main__":
    _Server(socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2])).run()
