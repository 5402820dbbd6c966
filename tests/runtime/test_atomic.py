"""Files and folders appear whole or not at all; an error of the disk names them."""

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from pipeline.runtime.atomic import atomic_folder, atomic_path, write_csv, write_json

ROOT = Path(__file__).parents[2]


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


# Each writes more than a small disk takes, in another library.
WRITERS = {
    "text": "path.write_text('x' * 10**6)",
    "numpy": "import numpy; numpy.save(path, numpy.zeros(10**6))",
    "safetensors": "import torch, safetensors.torch; safetensors.torch.save_file({'a': torch.zeros(10**6)}, path)",
    "torch": "import torch; torch.save(torch.zeros(10**6), path.open('wb'))",
    "pillow": "from PIL import Image; Image.effect_noise((1000, 1000), 99).save(path)",
}


@pytest.mark.skipif(
    os.getuid() != 0 or subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode != 0,
    reason="needs root and the right to make a mount namespace",
)
@pytest.mark.parametrize("library", WRITERS)
def test_on_a_full_disk_the_file_and_the_fix_are_named(tmp_path, library):
    name = "image.png" if library == "pillow" else "file.npy"
    code = f"""
from pipeline.runtime.atomic import atomic_path
from pipeline.runtime.errors import run_command
def main():
    with atomic_path({str(tmp_path / name)!r}) as path:
        {WRITERS[library]}
run_command(main)
"""
    mount = 'mount -t tmpfs -o size=256k tmpfs "$0" && "$@"; status=$?; ls -A "$0"; exit $status'
    command = ["unshare", "--mount", "sh", "-c", mount, str(tmp_path), sys.executable, "-c", code]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert done.stderr == f"error: {tmp_path / name}: no space left on the disk; free some and run again\n"
    assert (done.returncode, done.stdout) == (1, ""), "something was left"


def test_a_folder_in_the_place_of_a_file_is_named(tmp_path):
    (tmp_path / "table.csv").mkdir()
    with pytest.raises(IsADirectoryError) as error:
        write_csv(tmp_path / "table.csv", pd.DataFrame({"a": [1]}))
    assert error.value.filename == str(tmp_path / "table.csv")


def test_an_error_of_another_file_keeps_its_name(tmp_path):
    with pytest.raises(FileNotFoundError, match="absent"), atomic_path(tmp_path / "out"):
        (tmp_path / "absent").read_text()
