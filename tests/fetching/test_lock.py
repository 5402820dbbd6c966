"""The file of recorded checksums."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from pipeline.fetching.lock import Lock
from pipeline.runtime.errors import PipelineError


def test_the_first_record_of_a_file_stays(tmp_path):
    lock = Lock(tmp_path / "new" / "lock.json")
    assert lock.expected("a.zip") is None
    lock.record("a.zip", "1" * 64, 10, "http://somewhere/a.zip")
    lock.record("a.zip", "2" * 64, 20, "elsewhere")
    assert lock.expected("a.zip") == "1" * 64
    assert json.loads(lock.path.read_text()) == {
        "a.zip": {"sha256": "1" * 64, "size": 10, "source": "http://somewhere/a.zip"}
    }


def test_jobs_at_the_same_time_lose_no_record(tmp_path):
    names = [f"{index}.zip" for index in range(20)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: Lock(tmp_path / "lock.json").record(name, "1" * 64, 1, ""), names))
    assert sorted(json.loads((tmp_path / "lock.json").read_text())) == sorted(names)


def test_a_damaged_lock_is_named(tmp_path):
    (tmp_path / "lock.json").write_text("{")
    with pytest.raises(PipelineError, match=r"lock\.json: not valid JSON .*; fix or remove it"):
        Lock(tmp_path / "lock.json").expected("a.zip")
