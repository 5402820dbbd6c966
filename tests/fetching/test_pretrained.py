"""Pretrained weights of an encoder from a server on loopback and from a folder: what is taken, and what is refused."""

import sys
from pathlib import Path

import pytest
import torch
from data_support import serve

from pipeline.fetching import pretrained as module
from pipeline.fetching.credentials import hide_credentials
from pipeline.fetching.pretrained import fetch_pretrained
from pipeline.runtime.errors import PipelineError
from pipeline.runtime.manifest import file_sha256

ROOT = Path(__file__).parents[2]


@pytest.fixture
def mirror(tmp_path):
    """A server of a small file of random weights, named as its checksum says."""
    folder = tmp_path / "mirror"
    folder.mkdir()
    torch.save({"weight": torch.rand(200, 100)}, folder / "weights")
    name = f"tiny-{file_sha256(folder / 'weights')[:8]}.pth"
    (folder / "weights").rename(folder / name)
    with serve(folder) as server:
        server.name = name
        yield server


@pytest.fixture
def facts(mirror, tmp_path):
    path, beginning = tmp_path / "facts.csv", mirror.name[5:13]
    path.write_text(f"name,url,sha256\ntiny,{mirror.url}/{mirror.name},{beginning}\n")
    return path


@pytest.fixture
def output(tmp_path):
    return tmp_path / "results" / "pretrained" / "tiny"


def files(output: Path) -> list[str]:
    return sorted(path.name for path in output.parent.rglob("*") if path.is_file())


def test_a_download_goes_on_after_a_broken_connection(mirror, facts, output, monkeypatch):
    monkeypatch.setattr("pipeline.fetching.download.FIRST_WAIT_SECONDS", 0.01)
    mirror.cut_after = [50_000]
    fetch_pretrained("tiny", output, facts)
    assert output.read_bytes() == (mirror.folder / mirror.name).read_bytes()
    assert mirror.requests == [(f"/{mirror.name}", None), (f"/{mirror.name}", "bytes=50000-")]
    assert files(output) == ["tiny"]


def test_another_file_is_refused(mirror, facts, output, tmp_path):
    (mirror.folder / mirror.name).write_bytes(b"another")
    with pytest.raises(PipelineError, match=rf"not {mirror.name}: SHA-256 \w+ where .*facts.csv has"):
        fetch_pretrained("tiny", output, facts)
    with pytest.raises(PipelineError, match="not tiny-"):
        fetch_pretrained("tiny", output, facts, folder=mirror.folder)
    assert files(output) == []
    with pytest.raises(PipelineError, match="no weights 'large'; known: tiny"):
        fetch_pretrained("large", output, facts)


def test_a_folder_is_looked_into_before_any_download(mirror, facts, output, tmp_path):
    fetch_pretrained("tiny", output, facts, folder=mirror.folder)
    assert mirror.requests == [] and output.stat().st_size == (mirror.folder / mirror.name).stat().st_size
    output.unlink()
    fetch_pretrained("tiny", output, facts, folder=tmp_path)
    assert len(mirror.requests) == 1


def test_a_mirror_with_a_password_as_the_rule_names_it(mirror, facts, output, monkeypatch):
    facts.write_text(facts.read_text().replace(mirror.url, "http://127.0.0.1:9"))
    monkeypatch.setenv("PIPELINE_ARCHIVES_LOGIN", "")
    url = hide_credentials(mirror.url.replace("://", "://me:secret@"), "archives")
    command = ["pretrained", "--name", "tiny", "--facts", str(facts), "--output", str(output), "--base-url", url]
    monkeypatch.setattr(sys, "argv", command)
    module.main()
    assert output.is_file() and mirror.authorisations == ["Basic bWU6c2VjcmV0"]


def test_the_table_gives_the_digits_of_each_name():
    lines = (ROOT / "workflow/resources/pretrained_files.csv").read_text().splitlines()
    assert lines[0] == "name,url,sha256"
    for line in lines[1:]:
        name, url, beginning = line.split(",")
        assert url.endswith(f"/{name}-{beginning[:8]}.pth") and len(beginning) in (8, 64)
