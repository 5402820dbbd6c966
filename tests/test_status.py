"""What the files of a study tell of it."""

import json
import os
import time
from pathlib import Path

import pytest
from workflow_support import ROOT

from pipeline import status
from pipeline.config import read_study
from pipeline.plan import Plan
from pipeline.runtime.progress import duration
from pipeline.status import Running, failures, read_status, seconds_left, text

NOW = 1_790_000_000.0
EPOCHS = "busi/uniform/seed41 cpu epoch {}/200 loss 0.7 val loss 0.6 val DSC 0.7811 lr 1.0e-02, at most 1 h 10 min left"
TRACEBACK = "Traceback (most recent call last):\n  File x\nKeyError: 'layer'\n"


@pytest.fixture
def study(tmp_path) -> Plan:
    """The main table's trainings of five variants on BUSI with a single seed, in all states."""
    settings = {"datasets": ["busi"], "seeds": [41], "more_seeds": None, "ablations": {}, "results": str(tmp_path)}
    settings |= {"main": ["zero_shot", "telescopic", "uniform", "lora", "decoder_only", "vlsm_dense"]}
    settings |= {"transfer": None, "joint": None, "leaks": None}
    plan = Plan(read_study(ROOT / "config.yaml").model_copy(update=settings))
    for variant in ("zero_shot", "telescopic"):
        folder = Path(plan.run_folder("busi", variant, 41))
        folder.mkdir(parents=True)
        (folder / "weights.safetensors").touch()
        (folder / "manifest.json").write_text(json.dumps({"wall_seconds": 600}))
    write(tmp_path, "uniform", "\n".join(EPOCHS.format(epoch) for epoch in (6, 7)), 30)
    write(tmp_path, "lora", "busi/lora/seed41: on cpu\nerror: out of memory with 32 images at a time; 8 fit\n", 5)
    write(tmp_path, "decoder_only", EPOCHS.format(9), 36_000)
    return plan


def write(results: Path, variant: str, content: str, age: float) -> Path:
    log = results / f"logs/train/busi/{variant}/seed41.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text(content)
    os.utime(log, (NOW - age, NOW - age))
    return log


def only(plan: Plan) -> status.Status:
    """The state of the main table's trainings alone."""
    plan.groups = (plan.main,)
    return read_status(plan, NOW)


def test_every_training_has_a_state(study):
    found = only(study)
    assert found.done == ["busi/telescopic/seed41", "busi/zero_shot/seed41"]
    assert found.running == {"busi/uniform/seed41": Running(7, 200, 0.7811, 4200)}
    assert found.failed == {"busi/lora/seed41": "error: out of memory with 32 images at a time; 8 fit"}
    # It wrote nothing for ten hours: whatever ran it has ended.
    assert found.waiting == ["busi/decoder_only/seed41", "busi/vlsm_dense/seed41"]
    assert found.left == 3 * 600 + 4200


def test_what_is_printed(study, tmp_path):
    lines = text(study, only(study)).splitlines()
    assert lines[0].endswith(": 2 of 6 trainings done, 1 running, 2 waiting, 1 failed; about 1 h 40 min left")
    assert [line.split() for line in lines if line.startswith("busi/uniform")] == [
        ["busi/uniform/seed41", "7/200", "78.1", "1", "h", "10", "min"]
    ]
    assert f"{tmp_path}/logs/train/busi/lora/seed41.log: error: out of memory with 32 images at a time; 8 fit" in lines


def test_a_training_that_has_just_begun_and_one_that_resumed_are_running(study, tmp_path):
    write(tmp_path, "vlsm_dense", "busi/vlsm_dense/seed41: on cpu, deterministic, seed 41\n", 5)
    write(tmp_path, "lora", EPOCHS.format(3), 5)
    found = only(study)
    assert found.running["busi/vlsm_dense/seed41"] == Running(0, None, None, None)
    assert found.running["busi/lora/seed41"].epoch == 3 and not found.failed
    assert "starting" in text(study, found)


def test_nothing_done_gives_no_time(tmp_path):
    plan = Plan(read_study(ROOT / "config.yaml").model_copy(update={"results": str(tmp_path)}))
    found = read_status(plan, NOW)
    assert found.left is None and len(found.waiting) > 100
    assert text(plan, found).endswith("0 failed")


def test_failures_of_any_step_and_only_new_ones(study, tmp_path):
    log = tmp_path / "logs/tensors_busi.log"
    log.write_text(TRACEBACK)
    (tmp_path / "logs/fine.log").write_text("error: none\nbusi: done\n")
    assert list(failures(tmp_path, time.time() - 60)) == [(log, "KeyError: 'layer'")]
    assert len(list(failures(tmp_path))) == 2


def test_durations_are_read_as_they_are_written():
    for seconds in (0, 5, 60, 123, 3600, 7260):
        assert seconds_left(f"epoch 1/2, at most {duration(seconds)} left") == seconds
    assert seconds_left("7 epochs in 2 s, best in epoch 3") is None


def test_the_command_line(study, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(status, "Plan", lambda _: study)
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(status.time, "sleep", lambda seconds: (_ for _ in ()).throw(KeyboardInterrupt))
    for options, start in (([], str(tmp_path)), (["--watch"], f"\033[H\033[J{tmp_path}")):
        monkeypatch.setattr("sys.argv", ["status", *options])
        status.main()
        assert capsys.readouterr().out.startswith(start)
