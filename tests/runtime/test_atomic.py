"""Files and folders appear whole or not at all; leftovers are cleared; an error of the disk names them."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from pipeline.runtime import atomic
from pipeline.runtime.atomic import atomic_folder, atomic_path, read_json, write_csv, write_json, write_text
from pipeline.runtime.errors import PipelineError

ROOT = Path(__file__).parents[2]

WRITER = """
import sys, time
from pipeline.runtime.atomic import atomic_folder, atomic_path
with {writer}(sys.argv[1]) as temporary:
    ({file}).write_text("half")
    print("writing", flush=True)
    time.sleep(60)
"""


@pytest.fixture(params=[("atomic_path", "temporary"), ("atomic_folder", "temporary / 'x'")], ids=["file", "folder"])
def write(request):
    """Start a writer of a file or a folder that hangs in the middle; the process."""

    def start(path):
        code = WRITER.format(writer=request.param[0], file=request.param[1])
        process = subprocess.Popen([sys.executable, "-c", code, path], stdout=subprocess.PIPE, text=True)
        assert process.stdout.readline() == "writing\n"
        return process

    start.again = lambda path: getattr(atomic, request.param[0])(path)
    return start


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def end(process, number):
    process.send_signal(number)
    process.wait()
    process.stdout.close()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_what_a_killed_writer_left_is_removed_by_the_next(tmp_path, write, number):
    target = tmp_path / "result.csv"
    end(write(target), number)
    assert len(names(tmp_path)) == 1 and not target.exists()
    with write.again(target) as temporary:
        if temporary.is_file():
            temporary.write_text("whole")
    assert names(tmp_path) == ["result.csv"]


def test_another_writer_at_work_and_other_targets_are_left_alone(tmp_path, write):
    target, other = tmp_path / "result.csv", tmp_path / "result.csv.gz"
    killed, working = write(other), write(target)
    end(killed, signal.SIGKILL)
    before = names(tmp_path)
    write_text(target, "whole")
    assert names(tmp_path) == sorted([*before, "result.csv"])
    end(working, signal.SIGKILL)


def test_of_another_machine_only_old_leftovers_are_removed(tmp_path):
    recent, old = (tmp_path / f".result.csv.elsewhere.1.{name}.partial.csv" for name in ("recent", "old"))
    for path in (recent, old):
        path.touch()
    os.utime(old, (0, time.time() - 2 * atomic.FOREIGN_SECONDS))
    write_text(tmp_path / "result.csv", "whole")
    assert names(tmp_path) == sorted(["result.csv", recent.name])


def test_the_suffix_stays_and_an_error_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError), atomic_path(tmp_path / "figure.pdf") as temporary:
        assert temporary.suffix == ".pdf"
        raise RuntimeError
    with pytest.raises(RuntimeError), atomic_folder(tmp_path / "folder") as temporary:
        raise RuntimeError
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("content", "kind", "reason"),
    [
        (None, dict, "cannot be read"),
        (b"{", dict, "not valid JSON"),
        (b'"\xff"', dict, "not valid JSON"),
        (b"[" * 100_000, list, "not valid JSON"),
        (b"[]", dict, "must be a JSON object"),
        (b"{}", list, "must be a JSON list"),
    ],
)
def test_json_of_another_kind_is_named(tmp_path, content, kind, reason):
    path = tmp_path / "x.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(PipelineError, match=rf"x\.json: {reason}.*; make it again"):
        read_json(path, kind, "make it again")


def test_json_comes_back(tmp_path):
    write_json(tmp_path / "x.json", {"b": [1.5], "a": None})
    assert read_json(tmp_path / "x.json", dict, "") == {"b": [1.5], "a": None}
    assert list(json.loads((tmp_path / "x.json").read_text())) == ["a", "b"]


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
