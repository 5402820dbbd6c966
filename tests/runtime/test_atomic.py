"""Files and folders that appear whole or not at all."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from pipeline.runtime import atomic
from pipeline.runtime.atomic import atomic_folder, atomic_path, read_json, write_json, write_text
from pipeline.runtime.errors import PipelineError

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
