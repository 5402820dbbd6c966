"""Start a step: ``python -m pipeline.runtime.start MODULE ...``, which is ``python -m MODULE ...`` but can start warm.

Importing torch and transformers takes seconds, more than a short training does. With PIPELINE_WARM_START=1 in the
environment the first call starts a server that imports them (and nothing of this project, so that edits count at
once); each call has it fork a child that runs the module with the caller's arguments, folder, environment and standard
streams, and ends with the child's exit status. If the caller dies, its child is killed; a server that nobody calls for
a minute ends by itself. Where no server can be had, the module runs in the calling process.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

from pipeline.runtime import portable

LIBRARIES = ("torch", "transformers.models.clipseg.modeling_clipseg", "transformers.models.clip.tokenization_clip")
LIBRARIES += ("pandas", "scipy.ndimage", "PIL.Image", "safetensors.torch", "tqdm")
IDLE_SECONDS = 60
START_SECONDS = 60
STARTED = b"+"
SWITCH = "PIPELINE_WARM_START"
PROJECT = __name__.split(".")[0] if __name__ != "__main__" else "pipeline"


def _socket_path() -> Path:
    folder = Path(tempfile.gettempdir()) / f"telescopic-warm-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    # The libraries read these when they are imported: a server has them for all its children.
    numerics = [os.environ.get(name, "") for name in portable.ENVIRONMENT]
    identity = f"{sys.executable}\n{sys.version}\n{Path(sys.prefix).stat().st_mtime_ns}\n{numerics}"
    return folder / f"{hashlib.sha256(identity.encode()).hexdigest()[:16]}.sock"


# -------------------------------------------------------------------- caller


def _connect(path: Path) -> socket.socket | None:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.connect(str(path))
    except OSError:
        connection.close()
        return None
    return connection


def _connect_or_start(path: Path) -> socket.socket | None:
    connection = _connect(path)
    if connection:
        return connection
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        connection = _connect(path)
        if connection:
            return connection
        command = [sys.executable, "-m", f"{PROJECT}.runtime.start", "--serve", str(path)]
        quiet = subprocess.DEVNULL
        server = subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=True)
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and server.poll() is None:
            connection = _connect(path)
            if connection:
                return connection
            time.sleep(0.05)
    return None


def _run_here(module: str, arguments: list[str]) -> int:
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
    return 0


def call(module: str, arguments: list[str]) -> int:
    """Run ``module`` in a child of the server; its exit status."""
    connection = _connect_or_start(_socket_path()) if os.environ.get(SWITCH) == "1" else None
    if connection is None:
        return _run_here(module, arguments)
    request = {"module": module, "arguments": arguments, "cwd": str(Path.cwd()), "environment": dict(os.environ)}
    payload = json.dumps(request).encode()
    with connection, contextlib.suppress(OSError):
        socket.send_fds(connection, [len(payload).to_bytes(8, "big")], [0, 1, 2])
        connection.sendall(payload)
        if connection.recv(1) == STARTED:
            answer = connection.recv(64)
            return int(answer) if answer else 1
    # The server ended between our connecting and its accepting: nothing was started.
    return _run_here(module, arguments)


# -------------------------------------------------------------------- server


def _receive(connection: socket.socket) -> tuple[dict, list[int]]:
    header, descriptors, _, _ = socket.recv_fds(connection, 8, 3)
    length, data = int.from_bytes(header, "big"), b""
    while len(data) < length:
        part = connection.recv(min(1 << 16, length - len(data)))
        if not part:
            raise ConnectionError("the caller closed its connection")
        data += part
    return json.loads(data), descriptors


def _child(request: dict, descriptors: list[int]) -> int:
    """Become the caller's process, as far as that goes, and run its module."""
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
        os.close(descriptor)
    sys.stdin, sys.stdout, sys.stderr = (open(number, mode, closefd=False) for number, mode in enumerate("rww"))  # noqa: SIM115
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["environment"])
    for name in [name for name in sys.modules if name.split(".")[0] == PROJECT]:
        del sys.modules[name]
    sys.path[0] = request["cwd"]
    sys.argv = [request["module"], *request["arguments"]]
    try:
        runpy.run_module(request["module"], run_name="__main__", alter_sys=True)
        status = 0
    except SystemExit as error:
        if isinstance(error.code, str):
            print(error.code, file=sys.stderr)
        status = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:
        traceback.print_exc()
        status = 1
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    return status


def serve(path: Path) -> None:
    """Import the libraries, then fork a child for each call until nobody calls any more."""
    import gc
    import importlib

    for library in LIBRARIES:
        importlib.import_module(library)
    # Children share the pages of what was imported as long as the collector does not touch them.
    gc.freeze()
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    listener.listen(128)
    children: dict[int, socket.socket] = {}
    last = time.monotonic()
    while children or time.monotonic() - last < IDLE_SECONDS:
        readable, _, _ = select.select([listener, *children.values()], [], [], 0.02 if children else 1.0)
        for connection in readable:
            if connection is listener:
                _accept(listener, children)
                continue
            # A caller says nothing after its request: readable means that it is gone.
            process = next(pid for pid, other in children.items() if other is connection)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process, signal.SIGKILL)
            children.pop(process).close()
            os.waitpid(process, 0)
        _reap(children)
        if children:
            last = time.monotonic()
    path.unlink(missing_ok=True)


def _accept(listener: socket.socket, children: dict[int, socket.socket]) -> None:
    connection, _ = listener.accept()
    try:
        request, descriptors = _receive(connection)
    except (OSError, ValueError):
        connection.close()
        return
    process = os.fork()
    if process == 0:
        status = 1
        try:
            os.setsid()
            listener.close()
            connection.close()
            for other in children.values():
                other.close()
            status = _child(request, descriptors)
        finally:
            os._exit(status)
    for descriptor in descriptors:
        os.close(descriptor)
    children[process] = connection
    with contextlib.suppress(OSError):
        connection.sendall(STARTED)


def _reap(children: dict[int, socket.socket]) -> None:
    for process in list(children):
        done, status = os.waitpid(process, os.WNOHANG)
        if done:
            code = os.waitstatus_to_exitcode(status)
            with children.pop(process) as connection, contextlib.suppress(OSError):
                connection.sendall(str(code if code >= 0 else 128 - code).encode())


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        serve(Path(sys.argv[2]))
    else:
        if len(sys.argv) < 2:
            sys.exit("usage: python -m pipeline.runtime.start MODULE [ARGUMENT ...]")
        sys.exit(call(sys.argv[1], sys.argv[2:]))
