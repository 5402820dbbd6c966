"""Atomic writes, the GPU lease, and which modules a rule depends on."""

import contextlib
import json
import multiprocessing
import os
import signal
import time
from pathlib import Path

import pandas as pd
import pytest

from pipeline.runtime.atomic import atomic_folder, atomic_path, write_csv, write_json
from pipeline.runtime.code import module_files
from pipeline.runtime.errors import PipelineError
from pipeline.runtime.gpus import visible_gpus
from pipeline.runtime.lease import compute_device, lease
from pipeline.runtime.progress import duration, track

ROOT = Path(__file__).parents[2]


# ------------------------------------------------------------------ atomic writes


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "table.csv"
    write_csv(path, pd.DataFrame({"a": [0.1]}))
    with pytest.raises(RuntimeError), atomic_path(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "a\n0.1\n"
    assert [entry.name for entry in tmp_path.iterdir()] == ["table.csv"]


def test_a_failed_folder_leaves_the_old_one(tmp_path):
    target = tmp_path / "dataset"
    with atomic_folder(target) as folder:
        (folder / "one").write_text("1")
    with pytest.raises(RuntimeError), atomic_folder(target) as folder:
        (folder / "two").write_text("2")
        raise RuntimeError
    assert [path.name for path in target.iterdir()] == ["one"]
    with atomic_folder(target) as folder:
        (folder / "three").write_text("3")
    assert [path.name for path in target.iterdir()] == ["three"]
    assert [path.name for path in tmp_path.iterdir()] == ["dataset"]


def test_written_files_have_the_permissions_of_the_users_umask(tmp_path):
    before = os.umask(0o027)
    try:
        write_json(tmp_path / "a.json", {"b": 1})
    finally:
        os.umask(before)
    assert (tmp_path / "a.json").stat().st_mode & 0o777 == 0o640


def test_json_refuses_nan(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", {"dsc": float("nan")})
    assert not list(tmp_path.iterdir())


# ------------------------------------------------------------------ progress


def test_track_yields_all_and_writes_a_line_where_there_is_no_terminal(capsys):
    assert list(track([1, 2, 3], "scored")) == [1, 2, 3]
    assert "scored: 3 done in" in capsys.readouterr().err


@pytest.mark.parametrize(("seconds", "text"), [(0.4, "0 s"), (75, "1 min 15 s"), (7260, "2 h 1 min")])
def test_duration(seconds, text):
    assert duration(seconds) == text


# ------------------------------------------------------------------ lease


def _hold(folder: Path, log: Path, seconds: float) -> None:
    with lease(["0", "1", "2"], folder=folder) as device:
        with log.open("a") as file:
            file.write(f"+{device}\n")
        time.sleep(seconds)
        with log.open("a") as file:
            file.write(f"-{device}\n")


def test_eight_processes_share_three_devices_one_at_a_time(tmp_path):
    log = tmp_path / "log"
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_hold, args=(tmp_path / "locks", log, 0.15)) for _ in range(8)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(30)
        assert process.exitcode == 0
    held: set[str] = set()
    most = 0
    for line in log.read_text().split():
        if line[0] == "+":
            assert line[1:] not in held, "two holders of one device"
            held.add(line[1:])
        else:
            held.remove(line[1:])
        most = max(most, len(held))
    assert log.read_text().count("+") == 8
    assert most == 3


def test_the_device_of_a_crashed_holder_is_free_again(tmp_path):
    log = tmp_path / "log"
    context = multiprocessing.get_context("fork")
    process = context.Process(target=_hold, args=(tmp_path / "locks", log, 60))
    process.start()
    deadline = time.monotonic() + 20
    while not log.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    with (
        pytest.raises(PipelineError, match="no GPU of 0 became free"),
        lease(["0"], timeout=0.3, folder=tmp_path / "locks"),
    ):
        pass
    os.kill(process.pid, signal.SIGKILL)
    process.join(10)
    with lease(["0"], timeout=5, folder=tmp_path / "locks") as device:
        assert device == "0"


def test_slots_let_several_share_a_device(tmp_path):
    def hold(timeout=None):
        return lease(["0"], slots=2, timeout=timeout, folder=tmp_path)

    with hold(), hold(), pytest.raises(PipelineError), hold(timeout=0.3):
        pass


def test_jobs_share_a_card_as_the_workflow_says(tmp_path, monkeypatch):
    """Of two cards one is leased to each job, and to as many as jobs.runs_per_gpu lets."""
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setattr("pipeline.runtime.lease.lease_folder", lambda: tmp_path)
    monkeypatch.setenv("PIPELINE_RUNS_PER_GPU", "2")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    seen = []
    with contextlib.ExitStack() as stack:
        for _ in range(4):
            # Each job is a process of its own, with an environment of its own.
            monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
            assert stack.enter_context(compute_device()) == "cuda"
            seen.append(os.environ["CUDA_VISIBLE_DEVICES"])
        with pytest.raises(PipelineError, match="no GPU of 0, 1 became free"), lease(["0", "1"], 2, 0.3, tmp_path):
            pass
    assert seen == ["0", "1", "0", "1"]


@pytest.mark.parametrize(("visible", "most"), [("", 0), ("-1", 0), ("3", 1)])
def test_visible_gpus_respects_the_environment(monkeypatch, visible, most):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert visible_gpus() <= most


# ------------------------------------------------------------------ dependencies of a rule


def test_training_depends_on_the_model_and_not_on_figures_or_other_kinds():
    files = module_files("pipeline.training.train", "pipeline.models.kinds.telescopic")
    assert {"pipeline/training/loop.py", "pipeline/models/segmenter.py", "pipeline/models/widths.py"} <= set(files)
    assert "pipeline/models/kinds/vlsm.py" not in files
    assert not [
        path for path in files if path.startswith(("pipeline/reporting", "pipeline/evaluation", "pipeline/runtime"))
    ]


def test_an_unknown_module_is_an_error():
    with pytest.raises(ValueError, match=r"no module pipeline\.trainig"):
        module_files("pipeline.trainig")


def test_manifest_is_json_and_names_the_code():
    from pipeline.runtime.manifest import manifest

    record = json.loads(json.dumps(manifest("cpu", seed=41)))
    assert record["seed"] == 41
    assert len(record["code_sha256"]) == 64
    assert record["versions"]["torch"].startswith("2.")
