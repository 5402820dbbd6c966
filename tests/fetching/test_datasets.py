"""Fetching, from servers and folders that let one down."""

import errno
import json
import shutil
from collections import namedtuple
from pathlib import Path

import data_support
import pytest
from data_support import serve

from pipeline.data import sources
from pipeline.fetching import datasets as fetch_module
from pipeline.fetching import download as download_module
from pipeline.fetching import kaggle as kaggle_module
from pipeline.fetching.datasets import fetch_annotations, fetch_archives
from pipeline.runtime.errors import PipelineError
from pipeline.runtime.manifest import file_sha256

QUICK = {"attempts": 3, "first_wait": 0.01}


@pytest.fixture
def mirror(tmp_path):
    """A server of a small BUSI archive, at least 100,000 bytes long."""
    archives = data_support.make_busi()
    archives.members["Dataset_BUSI.zip", "readme.bin"] = bytes(100_000)
    folder, _ = archives.write(tmp_path / "mirror")
    with serve(folder) as server:
        yield server


@pytest.fixture
def output(tmp_path):
    return tmp_path / "results" / "archives" / "busi"


def same(output: Path, server) -> bool:
    return (output / "Dataset_BUSI.zip").read_bytes() == (server.folder / "Dataset_BUSI.zip").read_bytes()


def leftovers(output: Path) -> list[str]:
    """Files that an unsuccessful run left beside its output, the incomplete download apart."""
    paths = output.parent.rglob("*") if output.parent.exists() else []
    return [path.name for path in paths if path.is_file() and ".part" not in path.name]


def test_a_mirror(mirror, output):
    fetch_archives("busi", output, base_url=mirror.url, official=False)
    assert same(output, mirror)
    assert [path for path, _ in mirror.requests] == ["/Dataset_BUSI.zip"]
    assert sorted(path.name for path in output.parent.rglob("*") if path.is_file()) == ["Dataset_BUSI.zip"]


def test_a_broken_connection_is_resumed_where_it_broke(mirror, output):
    mirror.cut_after = [30_000, 20_000]
    fetch_archives("busi", output, base_url=mirror.url, official=False, **QUICK)
    assert same(output, mirror)
    assert [wanted for _, wanted in mirror.requests] == [None, "bytes=30000-", "bytes=50000-"]


def test_another_run_goes_on_where_the_first_gave_up(mirror, output):
    mirror.cut_after = [40_000, 0, 0, 0, 0]
    with pytest.raises(PipelineError, match=r"broke off after 0\.0 MiB and 3 attempts brought nothing more"):
        fetch_archives("busi", output, base_url=mirror.url, official=False, **QUICK)
    assert not output.exists()
    assert leftovers(output) == []
    mirror.cut_after.clear()
    mirror.requests.clear()
    fetch_archives("busi", output, base_url=mirror.url, official=False, **QUICK)
    assert same(output, mirror)
    assert [wanted for _, wanted in mirror.requests] == ["bytes=40000-"]


def test_a_file_that_changed_in_between_is_not_glued_together(mirror, output):
    mirror.cut_after = [40_000, 0, 0, 0]
    with pytest.raises(PipelineError):
        fetch_archives("busi", output, base_url=mirror.url, official=False, **QUICK)
    mirror.cut_after.clear()
    other = data_support.make_busi(seed=1)
    other.members["Dataset_BUSI.zip", "readme.bin"] = bytes(90_000)
    other.write(mirror.folder.parent)
    fetch_archives("busi", output, base_url=mirror.url, official=False, **QUICK)
    assert same(output, mirror)


def test_a_server_without_ranges_starts_over(mirror, output):
    mirror.cut_after, mirror.ranges = [30_000], False
    fetch_archives("busi", output, base_url=mirror.url, official=False, **QUICK)
    assert same(output, mirror)


def test_a_busy_server_is_asked_again(mirror, output):
    mirror.statuses = [503, 429]
    fetch_archives("busi", output, base_url=mirror.url, official=False, **QUICK)
    assert same(output, mirror)
    assert len(mirror.requests) == 3


def test_the_wait_doubles(mirror, output, monkeypatch):
    waits = []
    monkeypatch.setattr(download_module.time, "sleep", waits.append)
    mirror.statuses = [503, 503, 503, 503]
    fetch_archives("busi", output, base_url=mirror.url, official=False, attempts=5, first_wait=1.0)
    assert waits == [1, 2, 4, 8]


def test_nobody_answers(tmp_path, output):
    with serve(tmp_path) as server:
        url = server.url
    with pytest.raises(PipelineError, match=r"broke off after 0\.0 MiB"):
        fetch_archives("busi", output, base_url=url, official=False, **QUICK)


def failing(mirror, output, message, **options):
    with pytest.raises(PipelineError, match=message):
        fetch_archives("busi", output, base_url=mirror.url, **{"official": False, **QUICK, **options})
    assert not output.exists()
    assert leftovers(output) == []


def test_not_found(mirror, output):
    (mirror.folder / "Dataset_BUSI.zip").unlink()
    failing(mirror, output, r"not there \(HTTP 404\).*archives\.folder.*archives\.base_url")
    assert [path for path, _ in mirror.requests] == ["/Dataset_BUSI.zip", "/breast-ultrasound-images-dataset.zip"]


def test_access_refused(mirror, output):
    mirror.statuses = [403]
    failing(mirror, output, r"access refused \(HTTP 403\)")


def test_a_page_in_place_of_the_archive(mirror, output):
    mirror.page = b"<!DOCTYPE html><title>Quota exceeded</title>"
    failing(mirror, output, "a web page was served in place of the file")


def test_a_page_under_a_false_type(mirror, output):
    (mirror.folder / "Dataset_BUSI.zip").write_bytes(b"<html>Please log in</html>" * 100)
    failing(mirror, output, r"a web page \(log-in, quota or notice\) where a zip or rar archive is expected")
    assert list(output.parent.rglob("*.part")) == []


def test_a_truncated_file_is_found_without_a_length(mirror, output):
    mirror.lengths, mirror.cut_after = False, [60_000]
    failing(mirror, output, "a truncated zip archive where")


def test_a_wrong_checksum_of_a_known_file(mirror, output, monkeypatch):
    archive = sources.dataset_facts("busi").archives[0].model_copy(update={"sha256": "0" * 64})
    facts = sources.dataset_facts("busi").model_copy(update={"archives": [archive]})
    monkeypatch.setattr(fetch_module, "dataset_facts", lambda name: facts)
    failing(mirror, output, f"wrong checksum.*{'0' * 64}", official=True)
    assert list(output.parent.rglob("*.part")) == []


def test_an_unknown_checksum_is_recorded_and_then_enforced(mirror, output, tmp_path):
    lock = tmp_path / "lock.json"
    fetch_archives("busi", output, base_url=mirror.url, lock=lock, **QUICK)
    entry = json.loads(lock.read_text())["Dataset_BUSI.zip"]
    assert entry == {
        "sha256": file_sha256(mirror.folder / "Dataset_BUSI.zip"),
        "size": (mirror.folder / "Dataset_BUSI.zip").stat().st_size,
        "source": f"{mirror.url}/Dataset_BUSI.zip",
    }
    shutil.rmtree(output.parent)
    data_support.make_busi(seed=5).write(mirror.folder.parent)
    failing(mirror, output, f"wrong checksum.*{entry['sha256']}", official=True, lock=lock)
    # The user's own file is held to it too.
    with pytest.raises(PipelineError, match=f"wrong checksum.*expected {entry['sha256']}"):
        fetch_archives("busi", output, folder=mirror.folder, lock=lock)


def test_a_finished_download_survives_a_failure_of_another(tmp_path):
    folder, _ = data_support.make_isic16().write(tmp_path / "mirror")
    output = tmp_path / "results" / "isic16"
    missing = folder / "ISBI2016_ISIC_Part1_Test_GroundTruth.zip"
    content = missing.read_bytes()
    missing.unlink()
    with serve(folder) as server:
        with pytest.raises(PipelineError, match="Test_GroundTruth"):
            fetch_archives("isic16", output, base_url=server.url, **QUICK)
        assert not output.exists()
        missing.write_bytes(content)
        server.requests.clear()
        fetch_archives("isic16", output, base_url=server.url, **QUICK)
        assert [path for path, _ in server.requests] == [f"/{missing.name}"]
    assert len(list(output.iterdir())) == 4


def test_a_full_disk_is_seen_before_the_download(mirror, output, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(download_module.shutil, "disk_usage", lambda path: usage(10**6, 10**6 - 50, 50))
    failing(mirror, output, r"the disk is full \(0\.0 MiB free; 0\.1 MiB are still to come\).*goes on where it stopped")


def test_a_disk_that_fills_up_meanwhile(mirror, output, monkeypatch):
    class Full:
        """A file of which the second chunk does not fit."""

        def __init__(self, file):
            self._file, self._chunks = file, 0

        def __enter__(self):
            return self

        def __exit__(self, *error):
            self._file.close()

        def seek(self, place):
            self._file.seek(place)

        def write(self, data):
            self._chunks += 1
            if self._chunks > 1:
                raise OSError(errno.ENOSPC, "No space left on device")
            self._file.write(data)

    original = Path.open

    def opened(path, mode="r", *arguments, **options):
        file = original(path, mode, *arguments, **options)
        return Full(file) if path.name.endswith(".part") and mode != "rb" else file

    monkeypatch.setattr(download_module, "CHUNK", 1000)
    monkeypatch.setattr(Path, "open", opened)
    failing(mirror, output, "the disk is full .*No space left on device.*make room")
    monkeypatch.undo()
    mirror.requests.clear()
    fetch_archives("busi", output, base_url=mirror.url, official=False, **QUICK)
    assert same(output, mirror)
    assert [wanted for _, wanted in mirror.requests] == ["bytes=1000-"]


def test_own_archives_come_before_any_download(mirror, output):
    fetch_archives("busi", output, folder=mirror.folder, base_url=mirror.url)
    assert same(output, mirror)
    assert mirror.requests == []


def test_own_archives_stay_as_they_are(mirror, output):
    own = mirror.folder / "Dataset_BUSI.zip"
    own.chmod(0o444)
    fetch_archives("busi", output, folder=mirror.folder)
    assert own.stat().st_mode & 0o777 == 0o444
    assert own.stat().st_nlink == 1


def test_own_archives_are_copied_and_not_linked(mirror, output):
    own = mirror.folder / "Dataset_BUSI.zip"
    own.chmod(0o444)
    fetch_archives("busi", output, folder=mirror.folder, official=False)
    assert not (output / own.name).samefile(own)
    (output / own.name).unlink()
    assert own.stat().st_nlink == 1
    assert own.stat().st_mode & 0o777 == 0o444


def test_no_room_for_a_copy_of_an_own_archive(mirror, output, monkeypatch):
    def full(source, target):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(fetch_module.shutil, "copyfile", full)
    with pytest.raises(
        PipelineError, match=r"Dataset_BUSI\.zip: cannot be copied .*No space left on device.*make room"
    ):
        fetch_archives("busi", output, folder=mirror.folder, official=False)
    assert not output.exists()


def test_own_archives_under_another_accepted_name(tmp_path, output):
    folder, _ = data_support.make_clinicdb().write(tmp_path)
    fetch_archives("clinicdb", output, folder=folder)
    assert [path.name for path in output.iterdir()] == ["CVC-ClinicDB.zip"]


def test_a_folder_that_is_not_there(tmp_path, output):
    with pytest.raises(PipelineError, match=r"nowhere: no such folder; mend archives\.folder"):
        fetch_archives("busi", output, folder=tmp_path / "nowhere", base_url="http://127.0.0.1:9")


def test_an_own_archive_that_is_damaged(tmp_path, output):
    (tmp_path / "Dataset_BUSI.zip").write_bytes(b"PK\x03\x04" + bytes(500))
    with pytest.raises(PipelineError, match=r"Dataset_BUSI\.zip: a truncated zip archive where"):
        fetch_archives("busi", output, folder=tmp_path)


def test_an_archive_with_a_known_checksum_is_held_to_it(tmp_path, output):
    folder, _ = data_support.make_kvasir().write(tmp_path)
    known = sources.dataset_facts("kvasir_seg").archives[0].sha256
    with pytest.raises(PipelineError, match=f"wrong checksum.*expected {known}.*archives.official"):
        fetch_archives("kvasir_seg", output, folder=folder)
    fetch_archives("kvasir_seg", output, folder=folder, official=False)
    assert (output / "kvasir-seg.zip").is_file()


@pytest.fixture
def no_credentials(tmp_path, monkeypatch):
    for name in ("KAGGLE_USERNAME", "KAGGLE_KEY", "KAGGLE_API_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("KAGGLE_CONFIG_DIR", str(tmp_path / "no-kaggle"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


def test_kaggle_without_credentials_says_what_to_do(output, no_credentials):
    with pytest.raises(PipelineError) as caught:
        fetch_archives("bkai", output)
    for part in (
        "https://www.kaggle.com/competitions/bkai-igh-neopolyp/rules",
        "kaggle.json",
        "KAGGLE_USERNAME",
        "bkai-igh-neopolyp.zip into archives.folder",
    ):
        assert part in str(caught.value)


def fake_kaggle(monkeypatch, name, result):
    """Replace kagglehub's function ``name``; ``result`` fills the folder, or raises."""
    import kagglehub

    def download(handle, output_dir):
        folder = Path(output_dir)
        folder.mkdir(parents=True)
        result(handle, folder)
        return output_dir

    monkeypatch.setenv("KAGGLE_USERNAME", "somebody")
    monkeypatch.setenv("KAGGLE_KEY", "secret")
    monkeypatch.setattr(kagglehub, name, download)


def test_a_competition_becomes_one_archive(output, no_credentials, monkeypatch, tmp_path):
    bkai = data_support.make_bkai()

    def fill(handle, folder):
        assert handle == "bkai-igh-neopolyp"
        for (_, path), content in bkai.members.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)

    fake_kaggle(monkeypatch, "competition_download", fill)
    lock = tmp_path / "lock.json"
    fetch_archives("bkai", output, lock=lock)
    first = (output / "bkai-igh-neopolyp.zip").read_bytes()
    shutil.rmtree(output.parent)
    # The same files give the same archive, or the recorded checksum would not hold.
    fetch_archives("bkai", output, lock=lock)
    assert (output / "bkai-igh-neopolyp.zip").read_bytes() == first
    shutil.rmtree(output.parent)
    bkai.members[bkai.path("test/aaaa.jpeg")] = b"other"
    with pytest.raises(PipelineError, match="wrong checksum"):
        fetch_archives("bkai", output, lock=lock)


def test_rules_that_are_not_accepted(output, no_credentials, monkeypatch):
    import requests
    from kagglehub.exceptions import KaggleApiHTTPError

    def refuse(handle, folder):
        response = requests.Response()
        response.status_code = 403
        raise KaggleApiHTTPError("403 Client Error", response)

    fake_kaggle(monkeypatch, "competition_download", refuse)
    with pytest.raises(PipelineError, match=r"HTTP 403, not allowed: are the rules accepted\?.*rules"):
        fetch_archives("bkai", output)


def test_kaggle_steps_in_for_a_dead_link(mirror, output, monkeypatch, no_credentials):
    archive = sources.dataset_facts("busi").archives[0].model_copy(update={"url": f"{mirror.url}/gone.zip"})
    facts = sources.dataset_facts("busi").model_copy(update={"archives": [archive]})
    monkeypatch.setattr(fetch_module, "dataset_facts", lambda name: facts)
    fake_kaggle(monkeypatch, "dataset_download", lambda handle, folder: (folder / "a.png").write_bytes(b"x"))
    fetch_archives("busi", output, **QUICK)
    assert [path.name for path in output.iterdir()] == ["breast-ultrasound-images-dataset.zip"]

    def fail(source, target, scratch):
        raise PipelineError(f"Kaggle says no; {kaggle_module.by_hand(source)}")

    shutil.rmtree(output.parent)
    monkeypatch.setattr(fetch_module, "fetch_from_kaggle", fail)
    with pytest.raises(PipelineError, match=r"gone.zip: not there \(HTTP 404\).*Then: Kaggle says no.*log in"):
        fetch_archives("busi", output, **QUICK)


def test_split_lists_from_a_folder(tmp_path):
    data_support.make_busi().write(tmp_path)
    output = tmp_path / "lists"
    fetch_annotations("busi", output, folder=tmp_path / "annotations", official=False)
    assert sorted(path.name for path in output.iterdir()) == ["test.json", "train.json", "val.json"]
    with pytest.raises(PipelineError, match="not the pinned split list: SHA-256"):
        fetch_annotations("busi", tmp_path / "again", folder=tmp_path / "annotations")
    assert not (tmp_path / "again").exists()


def test_one_byte_of_a_split_list_changed(tmp_path, monkeypatch):
    data_support.make_busi().write(tmp_path)
    lists = tmp_path / "annotations" / "busi"
    facts = sources.dataset_facts("busi")
    sums = {split: file_sha256(lists / f"{split}.json") for split in sources.SPLITS}
    pinned = facts.model_copy(update={"annotations": facts.annotations.model_copy(update={"sha256": sums})})
    monkeypatch.setattr(fetch_module, "dataset_facts", lambda name: pinned)
    fetch_annotations("busi", tmp_path / "lists", folder=tmp_path / "annotations")
    content = (lists / "val.json").read_text()
    (lists / "val.json").write_text(content.replace("lesion", "lesiom", 1))
    assert len(content) == (lists / "val.json").stat().st_size
    with pytest.raises(PipelineError, match=rf"val\.json: not the pinned split list: SHA-256 .*expected {sums['val']}"):
        fetch_annotations("busi", tmp_path / "again", folder=tmp_path / "annotations")
    assert not (tmp_path / "again").exists()


def test_split_lists_from_a_mirror(tmp_path):
    data_support.make_busi().write(tmp_path)
    anns = tmp_path / "repository" / "data" / "busi" / "anns"
    anns.parent.mkdir(parents=True)
    shutil.move(tmp_path / "annotations" / "busi", anns)
    with serve(tmp_path / "repository") as server:
        fetch_annotations("busi", tmp_path / "lists", base_url=server.url, official=False, **QUICK)
        assert (tmp_path / "lists" / "val.json").read_bytes() == (anns / "val.json").read_bytes()
        with pytest.raises(PipelineError, match=r"train\.json: wrong checksum"):
            fetch_annotations("busi", tmp_path / "again", base_url=server.url, **QUICK)
        (anns / "test.json").write_text("404: Not Found")
        with pytest.raises(PipelineError, match=r"a file of another kind where a split list"):
            fetch_annotations("busi", tmp_path / "third", base_url=server.url, official=False, **QUICK)


def test_the_command_line_refuses_an_odd_flag(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["fetch", "--dataset", "busi", "--output", str(tmp_path), "--official", "yes"])
    with pytest.raises(SystemExit):
        fetch_module.main()
    assert "--official" in capsys.readouterr().err
