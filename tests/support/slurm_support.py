"""A private SLURM cluster of one node, this machine, for tests: started as root, used as an ordinary user."""

import contextlib
import os
import pwd
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ordinary_user import USER, identity, reachable

DAEMONS = ("munged", "slurmctld", "slurmd", "sbatch", "srun")
CGROUPS = Path("/sys/fs/cgroup")
CONTROLLERS = ("cpuset", "memory", "devices", "freezer", "cpuacct")

CONFIGURATION = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmdParameters=config_overrides
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=1,sched_interval=2,sched_min_interval=100000,bf_interval=2
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
JobCompType=jobcomp/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
ReturnToService=2
MinJobAge=3600
KillWait=5
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs={cores} RealMemory={memory} Gres=gpu:2 State=UNKNOWN
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""
WITH_CGROUPS = """
ProctrackType=proctrack/cgroup
TaskPlugin=task/cgroup,task/affinity
JobAcctGatherType=jobacct_gather/cgroup
JobAcctGatherFrequency=5
"""
WITHOUT_CGROUPS = """
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
"""
CGROUP_CONFIGURATION = """
CgroupPlugin=cgroup/v1
CgroupMountpoint=/sys/fs/cgroup
CgroupAutomount=no
ConstrainCores=yes
ConstrainRAMSpace=yes
ConstrainSwapSpace=no
ConstrainDevices=yes
"""


def why_not() -> str | None:
    """Why no cluster can be started here; None if one can."""
    absent = [name for name in DAEMONS if not _program(name)]
    if absent:
        return f"needs {', '.join(absent)} (Debian: slurmctld slurmd slurm-client munge)"
    if os.getuid() != 0:
        return "needs root to start SLURM's daemons"
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode:
        return "needs the right to make a mount namespace"
    return None


def _program(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


class Cluster:
    """A context in which the cluster runs; ``folder`` is a place that its ordinary user owns."""

    USER = USER

    def __init__(self) -> None:
        self.limits = all(os.access(CGROUPS / name, os.W_OK) for name in CONTROLLERS)
        self.user = pwd.getpwnam(self.USER)
        self.processes: list[subprocess.Popen] = []

    def __enter__(self) -> "Cluster":
        self.private = Path(tempfile.mkdtemp(prefix="slurm-"))
        self.private.chmod(0o755)
        self.folder = self.private / "home"
        self.folder.mkdir()
        os.chown(self.folder, self.user.pw_uid, self.user.pw_gid)
        try:
            self._configure()
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_) -> None:
        with contextlib.suppress(Exception):
            self.run("scancel", "--user", self.USER, "--signal=KILL", "--full", timeout=20)
            self.run("scancel", "--user", self.USER, timeout=20)
            deadline = time.monotonic() + 15
            while self.jobs() and time.monotonic() < deadline:
                time.sleep(0.2)
        for process in reversed(self.processes):
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)
        for name in CONTROLLERS:
            for path in sorted((CGROUPS / name).glob(f"slurm_{socket.gethostname()}*/**/"), reverse=True):
                with contextlib.suppress(OSError):
                    path.rmdir()
        shutil.rmtree(self.private, ignore_errors=True)

    def _configure(self) -> None:
        for name in ("state", "spool", "etc"):
            (self.private / name).mkdir()
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2**20
        values = {
            "host": socket.gethostname(),
            "folder": self.private,
            "ports": _free_ports(2),
            "cores": os.cpu_count(),
            "memory": min(20_000, memory - 500),
        }
        for index in range(2):
            subprocess.run(["mknod", str(self.private / f"gpu{index}"), "c", "199", str(index)], check=True)
        (self.private / "etc/gres.conf").write_text(f"Name=gpu File={self.private}/gpu[0-1]\n")
        (self.private / "etc/cgroup.conf").write_text(
            CGROUP_CONFIGURATION if self.limits else "CgroupPlugin=disabled\n"
        )
        (self.private / "etc/slurm.conf").write_text(
            CONFIGURATION.format(**values) + (WITH_CGROUPS if self.limits else WITHOUT_CGROUPS)
        )
        key = self.private / "munge.key"
        key.write_bytes(secrets.token_bytes(1024))
        key.chmod(0o400)

    def _start(self) -> None:
        """Start the daemons in a mount namespace, in which the ordinary user reaches Python and the repository."""
        # Jobs drop SLURM's variables: the configuration has to stand where SLURM looks for it.
        setup = f"mkdir -p /etc/slurm && mount --bind {self.private}/etc /etc/slurm || exit 1; {reachable()}"
        self._spawn(["unshare", "--mount", "sh", "-c", f"{setup} echo ready; exec sleep infinity"], True)
        if self.processes[0].stdout.readline() != "ready\n":
            raise RuntimeError("no mount namespace for the cluster")
        folder = self.private
        munge = [f"--key-file={folder}/munge.key", f"--socket={folder}/munge.socket"]
        munge += [f"--{name}-file={folder}/munge.{name}" for name in ("pid", "log", "seed")]
        self._spawn([*self._inside(), _program("munged"), "--foreground", "--force", *munge])
        self._wait_for(lambda: (folder / "munge.socket").exists(), "munged")
        self._spawn([*self._inside(), _program("slurmctld"), "-D"])
        self._spawn([*self._inside(), _program("slurmd"), "-D"])
        self._wait_for(lambda: self.run("sinfo", "--noheader", "--format=%T").stdout.strip() == "idle", "slurmd")

    def _spawn(self, command: list[str], read: bool = False) -> None:
        self.processes.append(
            subprocess.Popen(
                # None of them outlives the tests, however these end.
                ["setpriv", "--pdeathsig", "TERM", *command],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if read else subprocess.DEVNULL,
                stderr=None if read else subprocess.DEVNULL,
                text=True,
                start_new_session=True,
            )
        )

    def _inside(self) -> list[str]:
        return ["nsenter", f"--mount=/proc/{self.processes[0].pid}/ns/mnt"]

    def _wait_for(self, condition, what: str) -> None:
        deadline = time.monotonic() + 30
        while not condition():
            if time.monotonic() > deadline or any(process.poll() is not None for process in self.processes):
                logs = [path.read_text()[-1500:] for path in sorted(self.private.glob("*.log"))]
                raise RuntimeError("\n".join([f"{what} did not start", *logs]))
            time.sleep(0.1)

    # -------------------------------------------------------------- use

    def command(self, *arguments: str, folder: Path | None = None) -> tuple[list[str], dict[str, str]]:
        """How the ordinary user runs a command in ``folder`` (its home if none): a command line and its environment."""
        environment = {
            "PATH": f"{Path(sys.executable).parent}:/usr/sbin:/usr/bin:/bin",
            "HOME": str(self.folder),
            "USER": self.USER,
            "LOGNAME": self.USER,
            "LANG": "C.UTF-8",
        }
        # A process that enters a mount namespace stands at its root.
        return [*self._inside(), *identity(self.user), "env", "-C", str(folder or self.folder), *arguments], environment

    def run(self, *arguments: str, folder: Path | None = None, timeout: float = 60) -> subprocess.CompletedProcess:
        """Run a command as the ordinary user."""
        command, environment = self.command(*arguments, folder=folder)
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=timeout)

    def jobs(self) -> dict[int, str]:
        """Pending and running jobs with their comments (rule and wildcards)."""
        lines = self.run("squeue", "--noheader", "--format=%A|%k").stdout.splitlines()
        return {int(line.split("|")[0]): line.split("|")[1] for line in lines if "|" in line}
