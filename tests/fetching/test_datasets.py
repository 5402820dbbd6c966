"""Fetching archives and split lists from servers, folders and Kaggle."""

import errno
import json
import shutil
from pathlib import Path

import data_support
import pytest
from data_support import serve

from pipeline.data import sources
from pipeline.data.unpack import list_members, unpack
from pipeline.fetching import datasets as fetch_module
from pipeline.fetching import kaggle as kaggle_module
from pipeline.fetching.datasets import fetch_annotations, fetch_archives
from pipeline.runtime.errors import PipelineError
from pipeline.runtime.manifest import file_sha256


@pytest.fixture
def mirror(tmp_path):
    """A server of a small BUSI archive."""
    folder, _ = data_support.make_busi().write(tmp_path / "mirror")
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


def failing(mirror, output, message, **options):
    with pytest.raises(PipelineError, match=message):
        fetch_archives("busi", output, base_url=mirror.url, **{"official": False, **options})
    assert not output.exists()
    assert leftovers(output) == []


def test_not_found(mirror, output):
    (mirror.folder / "Dataset_BUSI.zip").unlink()
    failing(mirror, output, r"not there \(HTTP 404\).*archives\.folder.*archives\.base_url")
    assert [path for path, _ in mirror.requests] == ["/Dataset_BUSI.zip", "/breast-ultrasound-images-dataset.zip"]


def test_an_unknown_checksum_is_recorded_and_then_enforced(mirror, output, tmp_path):
    lock = tmp_path / "lock.json"
    fetch_archives("busi", output, base_url=mirror.url, lock=lock)
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
            fetch_archives("isic16", output, base_url=server.url)
        assert not output.exists()
        missing.write_bytes(content)
        server.requests.clear()
        fetch_archives("isic16", output, base_url=server.url)
        assert [path for path, _ in server.requests] == [f"/{missing.name}"]
    assert len(list(output.iterdir())) == 4


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
    with pytest.raises(PipelineError, match=r"nowhere: no such folder; correct archives\.folder"):
        fetch_archives("busi", output, folder=tmp_path / "nowhere", base_url="http://127.0.0.1:9")


def test_an_own_archive_that_is_damaged(tmp_path, output):
    (tmp_path / "Dataset_BUSI.zip").write_bytes(b"PK\x03\x04" + bytes(500))
    with pytest.raises(PipelineError, match=r"Dataset_BUSI\.zip: a truncated zip archive where"):
        fetch_archives("busi", output, folder=tmp_path)


def test_a_known_checksum_is_enforced(tmp_path, output):
    folder, _ = data_support.make_kvasir().write(tmp_path)
    known = sources.dataset_facts("kvasir_seg").archives[0].sha256
    with pytest.raises(PipelineError, match=f"wrong checksum.*expected {known}.*archives.official"):
        fetch_archives("kvasir_seg", output, folder=folder)
    fetch_archives("kvasir_seg", output, folder=folder, official=False)
    assert (output / "kvasir-seg.zip").is_file()


def test_kaggle_replaces_a_dead_link(mirror, output, monkeypatch):
    archive = sources.dataset_facts("busi").archives[0].model_copy(update={"url": f"{mirror.url}/gone.zip"})
    facts = sources.dataset_facts("busi").model_copy(update={"archives": [archive]})
    monkeypatch.setattr(fetch_module, "dataset_facts", lambda name: facts)

    def fetched(source, target):
        unpack(mirror.folder / "Dataset_BUSI.zip", target, list_members(mirror.folder / "Dataset_BUSI.zip"))

    monkeypatch.setattr(fetch_module, "fetch_from_kaggle", fetched)
    fetch_archives("busi", output)
    assert [path.name for path in output.iterdir()] == ["breast-ultrasound-images-dataset"]

    def fail(source, target):
        raise PipelineError(f"Kaggle says no; {kaggle_module.by_hand(source)}")

    shutil.rmtree(output.parent)
    monkeypatch.setattr(fetch_module, "fetch_from_kaggle", fail)
    with pytest.raises(PipelineError, match=r"gone.zip: not there \(HTTP 404\).*Then: Kaggle says no.*log in"):
        fetch_archives("busi", output)


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
        fetch_annotations("busi", tmp_path / "lists", base_url=server.url, official=False)
        assert (tmp_path / "lists" / "val.json").read_bytes() == (anns / "val.json").read_bytes()
        with pytest.raises(PipelineError, match=r"train\.json: wrong checksum"):
            fetch_annotations("busi", tmp_path / "again", base_url=server.url)
        (anns / "test.json").write_text("404: Not Found")
        with pytest.raises(PipelineError, match=r"a file of another kind where a split list"):
            fetch_annotations("busi", tmp_path / "third", base_url=server.url, official=False)


def test_the_command_line_refuses_an_odd_flag(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["fetch", "--dataset", "busi", "--output", str(tmp_path), "--official", "yes"])
    with pytest.raises(SystemExit):
        fetch_module.main()
    assert "--official" in capsys.readouterr().err
