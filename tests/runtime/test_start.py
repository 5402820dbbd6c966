"""A supervised step, cold or from the server of imported libraries: what it is given, what it returns, when it ends."""

import contextlib
import os
import resource
import signal
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="supervision by pidfd and warm starts need Linux")

# Stands for Snakemake: starts each command that it reads, in a shell of its own.
SNAKEMAKE = """
import os, subprocess, sys
from pipeline.runtime import start, warm

start.belong_to_this_process()
if sys.argv[1] == "warm":
    warm.start_server()
print("ready", os.environ.get(warm.SERVER), flush=True)
for line in sys.stdin:
    subprocess.Popen(["bash", "-c", line])
"""

# Says who it is, then waits.
SLEEPER = "import os, pathlib, time\npathlib.Path('pid').write_text(f'{os.getpid()} ')\ntime.sleep(300)\n"


class Snakemake:
    """A process that stands for Snakemake, and the steps that it starts in ``folder``."""

    def __init__(self, folder: Path, mode: str):
        self.folder = folder
        (folder / "snakemake_stub.py").write_text(SNAKEMAKE)
        self.process = subprocess.Popen(
            [sys.executable, "snakemake_stub.py", mode],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        ready, self.name = self.process.stdout.readline().split()
        assert ready == "ready"

    def start(self, step: str, before: str = "") -> None:
        """Start a step at once; ``before`` is shell code that runs first."""
        command = f"{before} {sys.executable} -m pipeline.runtime.start {step} > out 2> err; echo $? > status.new"
        self.process.stdin.write(f"{command}; mv status.new status\n")
        self.process.stdin.flush()

    def run(self, step: str, before: str = "") -> tuple[int, str, str]:
        """Start a step and wait; its exit status, output and errors."""
        (self.folder / "status").unlink(missing_ok=True)
        self.start(step, before)
        wait(lambda: (self.folder / "status").exists())
        return (
            int((self.folder / "status").read_text()),
            (self.folder / "out").read_text(),
            (self.folder / "err").read_text(),
        )

    def sleeping(self, before: str = "") -> int:
        """Start a step that sleeps; its process id once it runs."""
        (self.folder / "sleeper.py").write_text(SLEEPER)
        self.start("sleeper", before)
        pid = self.folder / "pid"
        wait(lambda: pid.exists() and pid.read_text().endswith(" "))
        return int(pid.read_text())

    def server(self) -> int:
        """Process id of the server of imported libraries."""
        return next(pid for pid in children(self.process.pid) if "pipeline.runtime.warm" in command_of(pid))


def wait(condition, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def stat_of(pid: int) -> list[str]:
    """State, parent and so on of a process; nothing if it is gone."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return []


def gone(pid: int) -> bool:
    return not stat_of(pid) or stat_of(pid)[0] == "Z"


def command_of(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")


def children(pid: int) -> list[int]:
    found = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return [child for child in found if stat_of(child)[1:2] == [str(pid)]]


@contextlib.contextmanager
def running(folder: Path, start: str):
    stub = Snakemake(folder, start)
    try:
        yield stub
    finally:
        stub.process.kill()
        stub.process.wait(10)


@pytest.fixture
def cold(tmp_path):
    with running(tmp_path, "cold") as stub:
        yield stub


@pytest.fixture
def warm(tmp_path):
    with running(tmp_path, "warm") as stub:
        yield stub


def write(folder: Path, code: str, name: str = "step.py") -> None:
    (folder / name).write_text(textwrap.dedent(code))


IS_WARM = "import sys\nprint('torch' in sys.modules)\n"


# ------------------------------------------------------------------ what a step is given and returns


@pytest.mark.parametrize("mode", ["cold", "warm"])
def test_a_step_behaves_like_python_m(tmp_path, mode, request):
    stub = request.getfixturevalue(mode)
    write(
        tmp_path,
        """
        import os, sys
        mask = os.umask(0)
        print(sys.argv[1:], os.getcwd(), os.environ['PIPELINE_COLOUR'], oct(mask), __name__, 'torch' in sys.modules)
        print('to stderr', file=sys.stderr)
        sys.exit(int(sys.argv[1]))
        """,
    )
    status, out, err = stub.run("step 3 'two words'", before="export PIPELINE_COLOUR=green;")
    assert out == f"['3', 'two words'] {tmp_path} green {oct(umask())} __main__ {mode == 'warm'}\n"
    assert (status, err) == (3, "to stderr\n")
    # An edit counts at once, and a message in place of a status is an error.
    write(tmp_path, "raise SystemExit('said no')")
    assert stub.run("step") == (1, "", "said no\n")
    write(tmp_path, "1 / 0")
    status, _, err = stub.run("step")
    assert status == 1
    assert err.endswith("ZeroDivisionError: division by zero\n")


def umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


@pytest.mark.parametrize("mode", ["cold", "warm"])
def test_a_killed_step_leaves_a_line_in_its_log(tmp_path, mode, request):
    write(tmp_path, "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)")
    status, _, err = request.getfixturevalue(mode).run("step")
    assert status == 128 + 9
    assert err == (
        "error: step was killed (SIGKILL), as happens when memory runs out; if it did, give its rule more:"
        " --set-resources RULE:mem_mb=MIB\n"
    )


def test_a_granted_gpu_reaches_the_step(tmp_path, cold):
    write(tmp_path, "import os\nprint(os.environ.get('PIPELINE_GPUS'))")
    assert cold.run("--gpus 1 step")[1] == "1\n"
    assert cold.run("--gpus 0 step")[1] == "None\n"


def test_without_snakemake_a_step_just_runs(tmp_path):
    write(tmp_path, "import sys\nsys.exit(5)")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PIPELINE_")}
    environment["PYTHONPATH"] = str(ROOT)
    done = subprocess.run([sys.executable, "-m", "pipeline.runtime.start", "step"], cwd=tmp_path, env=environment)
    assert done.returncode == 5


# ------------------------------------------------------------------ no step outlives what started it


@pytest.mark.parametrize("mode", ["cold", "warm"])
@pytest.mark.parametrize("victim", ["snakemake", "shell", "supervisor", "server"])
def test_a_step_ends_with_whatever_started_it(mode, victim, request):
    if (mode, victim) == ("cold", "server"):
        pytest.skip("a cold start has no server")
    stub = request.getfixturevalue(mode)
    step = stub.sleeping()
    shell = next(pid for pid in children(stub.process.pid) if command_of(pid).startswith("bash"))
    supervisor = children(shell)[0]
    server = stub.server() if mode == "warm" else None
    assert step != supervisor
    killed = {"snakemake": stub.process.pid, "shell": shell, "supervisor": supervisor, "server": server}[victim]
    os.kill(killed, signal.SIGKILL)
    wait(lambda: gone(step), 5)
    wait(lambda: gone(supervisor), 5)
    if mode == "warm":
        # The server outlives a step, never its Snakemake.
        wait(lambda: gone(server) == (victim in ("snakemake", "server")), 5)
    if victim == "server":
        wait(lambda: (stub.folder / "status").exists())
        assert (stub.folder / "status").read_text() == "137\n"
        write(stub.folder, IS_WARM)
        status, out, error = stub.run("step")
        assert (status, out) == (0, "False\n") and error.startswith("started cold: the server of libraries is gone")


def test_a_step_whose_snakemake_is_gone_does_not_begin(tmp_path, cold):
    write(tmp_path, "import pathlib\npathlib.Path('began').touch()")
    cold.start("step", before="sleep 1;")
    time.sleep(0.3)
    cold.process.kill()
    wait(lambda: (tmp_path / "status").exists())
    assert (tmp_path / "status").read_text() == "1\n"
    assert "has ended" in (tmp_path / "err").read_text()
    assert not (tmp_path / "began").exists()


@pytest.mark.parametrize("mode", ["cold", "warm"])
def test_a_terminated_step_removes_what_is_half_written(tmp_path, mode, request):
    write(
        tmp_path,
        """
        import pathlib, time
        from pipeline.runtime.atomic import atomic_folder
        from pipeline.runtime.errors import run_command

        def main():
            with atomic_folder("dataset") as folder:
                (folder / "half").write_text("half")
                pathlib.Path("begun").touch()
                time.sleep(300)

        run_command(main)
        """,
    )
    stub = request.getfixturevalue(mode)
    stub.start("step")
    wait(lambda: (tmp_path / "begun").exists())
    shell = next(pid for pid in children(stub.process.pid) if command_of(pid).startswith("bash"))
    os.kill(children(shell)[0], signal.SIGTERM)
    wait(lambda: (tmp_path / "status").exists())
    assert (tmp_path / "status").read_text() == "143\n"
    assert not list(tmp_path.glob("*.partial")) + list(tmp_path.glob(".*.partial"))


# ------------------------------------------------------------------ whom the server serves


def test_a_caller_in_other_surroundings_starts_cold(tmp_path, warm):
    write(tmp_path, IS_WARM)
    assert warm.run("step")[1] == "True\n"
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    for before in (
        "export HF_ENDPOINT=http://127.0.0.1:9;",
        "export OMP_NUM_THREADS=7;",
        "umask 077;",
        f"ulimit -S -n {soft - 1};",
        "renice -n 5 $$ > /dev/null;",
    ):
        assert warm.run("step", before)[1] == "False\n", before
    assert warm.run("step")[1] == "True\n"


CGROUPS = Path("/sys/fs/cgroup/pids" if Path("/sys/fs/cgroup/pids").is_dir() else "/sys/fs/cgroup")


@pytest.mark.skipif(not os.access(CGROUPS, os.W_OK), reason="needs the right to make a cgroup")
def test_a_caller_in_another_cgroup_starts_cold(tmp_path, warm):
    write(tmp_path, "import sys\nprint('torch' in sys.modules, open('/proc/self/cgroup').read())")
    assert warm.run("step")[1].startswith("True")
    group = CGROUPS / f"telescopic-test-{os.getpid()}"
    group.mkdir()
    try:
        out = warm.run("step", f"echo $$ > {group}/cgroup.procs;")[1]
        assert out.startswith("False")
        assert group.name in out
    finally:
        wait(lambda: not (group / "cgroup.procs").read_text())
        group.rmdir()


@pytest.mark.skipif(os.getuid() != 0, reason="needs root to act as another user")
def test_the_server_tells_another_user_nothing(warm):
    code = f"import socket\ns = socket.socket(socket.AF_UNIX)\ns.connect('\\0{warm.name}')\nprint(s.recv(100))"
    done = subprocess.run(
        ["python3", "-c", code], user=65534, group=65534, extra_groups=[], capture_output=True, text=True, timeout=20
    )
    assert done.stdout == "b''\n", done.stderr


@pytest.mark.skipif(os.getuid() != 0, reason="needs root to act as another user")
def test_a_caller_tells_the_server_of_another_user_nothing(tmp_path):
    write(tmp_path, IS_WARM)
    name = f"telescopic-benchmark-test-{os.getpid()}"
    code = f"import socket\ns = socket.socket(socket.AF_UNIX)\ns.bind('\\0{name}')\ns.listen()\nprint(flush=True)\n"
    code += "c, _ = s.accept()\nprint(c.recv(100))"
    with subprocess.Popen(
        ["python3", "-c", code], user=65534, group=65534, extra_groups=[], stdout=subprocess.PIPE, text=True
    ) as thief:
        thief.stdout.readline()
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "PIPELINE_WARM_START": name, "HF_TOKEN": "secret"}
        command = [sys.executable, "-m", "pipeline.runtime.start", "step"]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stdout) == (0, "False\n")
        assert thief.stdout.read() == "b''\n"


def test_the_server_leaves_no_file(tmp_path, monkeypatch):
    """With no folder that can be written to, a warm start works all the same."""
    sockets = {entry.name for entry in Path("/tmp").iterdir()}
    stub = Snakemake(tmp_path, "warm")
    try:
        write(tmp_path, IS_WARM)
        assert stub.run("step", "export TMPDIR=/nowhere HOME=/nowhere XDG_RUNTIME_DIR=/nowhere;")[1] == "True\n"
    finally:
        stub.process.kill()
        stub.process.wait(10)
    new = {entry.name for entry in Path("/tmp").iterdir()} - sockets
    assert not [name for name in new if "telescopic" in name]


def test_a_caller_that_stops_halfway_does_not_stop_others(tmp_path, warm):
    write(tmp_path, IS_WARM)
    assert warm.run("step")[1] == "True\n"
    with socket.socket(socket.AF_UNIX) as halfway:
        halfway.connect(f"\0{warm.name}")
        socket.send_fds(halfway, [(1 << 40).to_bytes(8, "big")], [0, 1, 2])
    assert warm.run("step")[1] == "True\n"
