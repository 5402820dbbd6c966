"""The lease of a GPU: lock files that nobody else can touch, and a grant that is taken at its word."""

import os

import pytest

from pipeline.runtime.errors import PipelineError
from pipeline.runtime.lease import compute_device, lease, lease_folder

GRANTS = ("PIPELINE_GPUS", "CUDA_VISIBLE_DEVICES", "SLURM_JOB_GPUS", "SLURM_STEP_GPUS")


def take(**options) -> str:
    with lease(["0"], timeout=0.1, **options) as device:
        return device


def test_locks_lie_in_the_users_own_folders(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name, folder in (
        (None, "home/.cache"),
        ("XDG_CACHE_HOME", "cache"),
        ("XDG_RUNTIME_DIR", "runtime"),
    ):
        monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
        if name is None:
            monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
        else:
            monkeypatch.setenv(name, str(tmp_path / folder))
        assert lease_folder().is_relative_to(tmp_path / folder)
        assert take() == "0"
        assert lease_folder().stat().st_mode & 0o777 == 0o700


def test_a_link_in_place_of_a_lock_is_refused(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "locks").mkdir(mode=0o700)
    (tmp_path / "locks" / "0.0.lock").symlink_to(victim)
    with pytest.raises(PipelineError, match=r"0\.0\.lock: cannot be opened as a lock file"):
        take(folder=tmp_path / "locks")
    assert victim.read_text() == "precious"


def test_a_folder_that_others_can_write_to_is_refused(tmp_path):
    folder = tmp_path / "locks"
    folder.mkdir()
    folder.chmod(0o777)
    with pytest.raises(PipelineError, match="not a folder that only you can write to"):
        take(folder=folder)
    (tmp_path / "mine").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "mine")
    with pytest.raises(PipelineError, match="not a folder that only you can write to"):
        take(folder=tmp_path / "link")


@pytest.mark.skipif(os.getuid() != 0, reason="needs root to give a folder away")
def test_a_folder_of_another_user_is_refused(tmp_path):
    folder = tmp_path / "locks"
    folder.mkdir(mode=0o700)
    os.chown(folder, 65534, 65534)
    with pytest.raises(PipelineError, match="not a folder that only you can write to"):
        take(folder=folder)


def test_where_no_folder_can_be_made_the_fix_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(PipelineError, match=r"file/locks: no GPU can be leased here.*XDG_RUNTIME_DIR"):
        take(folder=tmp_path / "file" / "locks")


@pytest.fixture
def no_gpu(monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    for name in GRANTS:
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


@pytest.mark.parametrize("name", GRANTS)
def test_a_granted_gpu_that_torch_does_not_find_is_an_error(no_gpu, name):
    no_gpu.setenv(name, "1")
    with pytest.raises(PipelineError, match=rf"granted a GPU \({name}=1\), but torch finds none"), compute_device():
        pass


@pytest.mark.parametrize("value", ["", "-1", "NoDevFiles"])
def test_without_a_grant_the_cpu_computes(no_gpu, value, capsys):
    no_gpu.setenv("CUDA_VISIBLE_DEVICES", value)
    with compute_device() as device:
        assert device == "cpu"
    assert "no GPU" in capsys.readouterr().err
