"""Downloads from Kaggle, with a stand-in for its client."""

import shutil
from pathlib import Path

import data_support
import pytest

from pipeline.data.archives import find_archives, match_members
from pipeline.data.sources import dataset_facts
from pipeline.data.unpack import list_members
from pipeline.fetching.datasets import fetch_archives
from pipeline.fetching.kaggle import fetch_from_kaggle
from pipeline.runtime.errors import PipelineError

BKAI = dataset_facts("bkai").archives[0].kaggle


@pytest.fixture
def no_credentials(tmp_path, monkeypatch):
    for name in ("KAGGLE_USERNAME", "KAGGLE_KEY", "KAGGLE_API_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("KAGGLE_CONFIG_DIR", str(tmp_path / "no-kaggle"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


@pytest.fixture
def kaggle(no_credentials, monkeypatch):
    """Replaces kagglehub's download by a function of the folder; collects the handles that were asked for."""
    import kagglehub

    def use(fill):
        def download(handle, output_dir):
            folder = Path(output_dir)
            if any(folder.iterdir()):
                raise FileExistsError("output_dir is not empty")
            handles.append(handle)
            fill(folder)
            (folder / ".complete").mkdir()
            return output_dir

        for name in ("competition_download", "dataset_download"):
            monkeypatch.setattr(kagglehub, name, download)
        return handles

    handles = []
    monkeypatch.setenv("KAGGLE_USERNAME", "somebody")
    monkeypatch.setenv("KAGGLE_KEY", "secret")
    return use


def write_members(members, folder):
    for (_, path), content in members.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)


def test_without_credentials_the_error_says_what_to_do(tmp_path, no_credentials):
    with pytest.raises(PipelineError) as caught:
        fetch_from_kaggle(BKAI, tmp_path / "bkai")
    for part in (
        "https://www.kaggle.com/competitions/bkai-igh-neopolyp/rules",
        "kaggle.json",
        "KAGGLE_USERNAME",
        "bkai-igh-neopolyp.zip into archives.folder",
    ):
        assert part in str(caught.value)


def test_a_competition_is_read_from_its_folder(tmp_path, kaggle):
    bkai = data_support.make_bkai()
    output, lock = tmp_path / "results" / "bkai", tmp_path / "lock.json"
    handles = kaggle(lambda folder: write_members(bkai.members, folder))
    fetch_archives("bkai", output, lock=lock)
    ((archive, path),) = find_archives("bkai", output)
    assert path == output / "bkai-igh-neopolyp"
    assert len(match_members("bkai", archive, path, list_members(path))) == 10
    assert (path / "train/train" / f"{0:032x}.jpeg").read_bytes() == next(iter(bkai.members.values()))
    # What is in the cache and has the recorded checksum is not downloaded again.
    shutil.rmtree(output)
    fetch_archives("bkai", output, lock=lock)
    assert handles == ["bkai-igh-neopolyp"]
    shutil.rmtree(output.parent)
    bkai.members[bkai.path("test/aaaa.jpeg")] = b"other"
    with pytest.raises(PipelineError, match="wrong checksum"):
        fetch_archives("bkai", output, lock=lock)


def test_rules_that_are_not_accepted(tmp_path, kaggle):
    import requests
    from kagglehub.exceptions import KaggleApiHTTPError

    def refuse(folder):
        response = requests.Response()
        response.status_code = 403
        raise KaggleApiHTTPError("403 Client Error", response)

    kaggle(refuse)
    with pytest.raises(PipelineError, match=r"HTTP 403, not allowed: are the rules accepted\?.*rules"):
        fetch_from_kaggle(BKAI, tmp_path / "bkai")


def test_a_broken_download_does_not_block_the_next(tmp_path, kaggle):
    def break_off(folder):
        (folder / "half.zip").write_bytes(b"PK")
        raise ValueError("Unsupported archive type.")

    kaggle(break_off)
    with pytest.raises(PipelineError, match=r"Kaggle: bkai-igh-neopolyp: ValueError: Unsupported archive type\.; log"):
        fetch_from_kaggle(BKAI, tmp_path / "bkai")
    assert list(tmp_path.glob("*bkai*")) == []
    kaggle(lambda folder: (folder / "a.jpeg").write_bytes(b"x"))
    fetch_from_kaggle(BKAI, tmp_path / "bkai")
    assert [path.name for path in (tmp_path / "bkai").iterdir()] == ["a.jpeg"]
