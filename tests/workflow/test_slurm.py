"""A real SLURM on this machine: the workflow on a cluster, by its profile, as an ordinary user."""

import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
from ordinary_user import own
from slurm_support import Cluster, why_not
from workflow_support import ROOT, processes

pytestmark = [pytest.mark.long, pytest.mark.slurm, pytest.mark.skipif(bool(why_not()), reason=str(why_not()))]

# Status is asked for soon: the profile's own interval is for large clusters.
OPTIONS = ("--profile", "workflow/profiles/slurm", "--configfile", "small.yaml", "--config", "jobs={gpus: 0}")
OPTIONS += ("--slurm-init-seconds-before-status-checks", "2", "--jobs", "4", "--latency-wait", "10")
OPTIONS += ("--quiet", "host")  # all of each job, with what SLURM says of it


TRAINING = "rule_train_wildcards_busi_end_to_end_41"


@pytest.fixture(scope="module")
def cluster():
    with Cluster() as cluster:
        yield cluster


@pytest.fixture(scope="module")
def submitted(cluster, checkout):
    """A study on the cluster, of which a training was cancelled in its middle: its folder, Snakemake's log, servers."""
    folder = cluster.folder / "checkout"
    shutil.copytree(checkout, folder, ignore=shutil.ignore_patterns("results", ".snakemake"))
    own(folder)
    command, environment = cluster.command(
        sys.executable, "-m", "snakemake", "results/small/dsc.csv", *OPTIONS, folder=folder
    )
    environment["PYTHONPATH"] = str(folder)
    with (cluster.private / "snakemake.log").open("w") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
        try:
            state = folder / "results/small/state/busi/end_to_end/seed41/state.pt"
            deadline = time.monotonic() + 240
            while not state.exists() and process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.01)
            # It is held where it is until SLURM, which lets what it cancels go on first, has got the order.
            steps = [pid for pid, command in processes(folder).items() if "busi/end_to_end/seed41" in command]
            for pid in steps:
                os.kill(pid, signal.SIGSTOP)
            jobs = [job for job, comment in cluster.jobs().items() if comment == TRAINING]
            assert steps and jobs, (cluster.private / "snakemake.log").read_text()[-4000:]
            cluster.run("scancel", *map(str, jobs))
            servers = [command for command in processes(folder).values() if "pipeline.runtime.warm" in command]
            status = process.wait(300)
        finally:
            process.kill()
    log = (cluster.private / "snakemake.log").read_text()
    assert status == 0, log[-4000:]
    return folder, log, servers


def test_a_cancelled_training_is_submitted_again_and_resumes(submitted):
    folder, log, _ = submitted
    assert "SLURM status is: 'CANCELLED'" in log
    assert "resuming after epoch" in (folder / "results/small/logs/train/busi/end_to_end/seed41.log").read_text()


def test_scores_are_those_of_a_run_without_slurm(submitted, small_study):
    folder, _, _ = submitted
    found = sorted((folder / "results/small/runs").rglob("per_case.csv"))
    assert len(found) == 3
    for path in found:
        assert path.read_bytes() == (small_study.finished / path.relative_to(folder)).read_bytes(), path


def test_short_jobs_travel_together(submitted):
    _, log, _ = submitted
    # Three trainings, phantoms, backbone and the table, one submission more for the cancelled training; data and scores
    # are one each.
    assert log.count("has been submitted with SLURM jobid") == 3 + 3 + 1 + 2


def test_cluster_jobs_start_cold(submitted):
    """A server would do the work of several jobs in one job's cgroup."""
    _, _, servers = submitted
    assert servers == []


def submit(cluster, code: str, *options: str) -> str:
    """Run a step as a job of its own; what it prints."""
    folder = cluster.folder / f"job{time.monotonic_ns()}"
    folder.mkdir()
    (folder / "step.py").write_text(code)
    os.chown(folder, cluster.user.pw_uid, cluster.user.pw_gid)
    command = f"PYTHONPATH={ROOT} python -m pipeline.runtime.start step"
    cluster.run("sbatch", "--wait", "--output=out", *options, "--wrap", command, folder=folder)
    return (folder / "out").read_text()


def test_a_granted_gpu_without_cuda_is_an_error(cluster):
    code = "from pipeline.runtime.errors import run_command\nfrom pipeline.runtime.lease import compute_device\n"
    code += "run_command(lambda: compute_device().__enter__())\n"
    assert "granted a GPU (CUDA_VISIBLE_DEVICES=0), but torch finds none" in submit(cluster, code, "--gpus=1")


def test_a_job_keeps_its_own_memory(cluster):
    if not cluster.limits:
        pytest.skip("cgroups (v1) cannot be written to here: SLURM enforces no limits")
    code = "print('began', flush=True)\nhoard = [bytearray(b'x' * 2**20) for _ in range(600)]\nprint('kept all')\n"
    assert submit(cluster, code, "--mem=1000").endswith("kept all\n")
    out = submit(cluster, code, "--mem=200")
    assert "began" in out
    assert "kept all" not in out
    assert "error: step was killed (SIGKILL), as happens when memory runs out" in out
