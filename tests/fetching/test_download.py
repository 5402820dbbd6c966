"""Downloads from a server with faults."""

import base64
import errno
import hashlib
import zipfile
from collections import namedtuple
from pathlib import Path

import pytest
from data_support import serve

from pipeline.fetching import download as module
from pipeline.fetching.credentials import split_credentials
from pipeline.fetching.download import check_archive, download
from pipeline.runtime.errors import PipelineError


def write_archive(path, content):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(zipfile.ZipInfo("readme.bin"), content)


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A server of a.zip, about 100,000 bytes long; downloads give up after three attempts."""
    monkeypatch.setattr(module, "ATTEMPTS", 3)
    monkeypatch.setattr(module, "FIRST_WAIT_SECONDS", 0.01)
    (tmp_path / "site").mkdir()
    write_archive(tmp_path / "site" / "a.zip", bytes(100_000))
    with serve(tmp_path / "site") as server:
        yield server


@pytest.fixture
def target(tmp_path):
    return tmp_path / "results" / "a.zip"


def fetch(site, target, sha256=None):
    download(f"{site.url}/a.zip", target, target.parent / "a.zip.part", check_archive, sha256)
    assert target.read_bytes() == (site.folder / "a.zip").read_bytes()
    assert [path.name for path in target.parent.iterdir()] == ["a.zip"]


def failing(site, target, message, keeps_part=False, **options):
    with pytest.raises(PipelineError, match=message):
        fetch(site, target, **options)
    assert not target.exists()
    assert target.with_name("a.zip.part").exists() == keeps_part


def ranges(site):
    return [wanted for _, wanted in site.requests]


def test_a_broken_connection_is_resumed_where_it_broke(site, target):
    site.cut_after = [30_000, 20_000]
    fetch(site, target)
    assert ranges(site) == [None, "bytes=30000-", "bytes=50000-"]


def test_another_run_goes_on_where_the_first_gave_up(site, target):
    site.cut_after = [40_000, 0, 0, 0, 0]
    failing(site, target, r"broke off after 0\.0 MiB and 3 attempts brought nothing more", keeps_part=True)
    site.cut_after.clear()
    site.requests.clear()
    fetch(site, target)
    assert ranges(site) == ["bytes=40000-"]


def test_parts_of_two_versions_are_not_joined(site, target):
    site.cut_after = [40_000, 0, 0, 0]
    failing(site, target, "broke off", keeps_part=True)
    site.cut_after.clear()
    write_archive(site.folder / "a.zip", b"x" * 90_000)
    fetch(site, target)


def test_a_part_from_another_address_is_not_used(site, target):
    site.cut_after = [40_000, 0, 0, 0]
    failing(site, target, "broke off", keeps_part=True)
    site.cut_after.clear()
    site.requests.clear()
    download(f"{site.url}/a.zip?mirror", target, target.with_name("a.zip.part"), check_archive)
    assert ranges(site) == [None]


def test_a_server_without_ranges_starts_over(site, target):
    site.cut_after, site.ranges = [30_000], False
    fetch(site, target)


def test_a_busy_server_is_asked_again_and_the_wait_doubles(site, target, monkeypatch):
    waits = []
    monkeypatch.setattr(module.time, "sleep", waits.append)
    monkeypatch.setattr(module, "ATTEMPTS", 5)
    monkeypatch.setattr(module, "FIRST_WAIT_SECONDS", 1.0)
    site.statuses = [503, 429, 503, 503]
    fetch(site, target)
    assert waits == [1, 2, 4, 8]


def test_no_server_answers(tmp_path, target, site):
    with serve(tmp_path) as server:
        pass
    failing(server, target, r"broke off after 0\.0 MiB")


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (404, r"not there \(HTTP 404\).*archives\.folder.*archives\.base_url"),
        (403, r"access refused \(HTTP 403\).*with a browser"),
        (451, "HTTP 451 from the server.*with a browser"),
    ],
)
def test_a_refusal_is_final(site, target, status, message):
    site.statuses = [status]
    failing(site, target, message)
    assert len(site.requests) == 1


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("/a.zip", r"cannot be downloaded \(Exceeded 30 redirects.*check the address"),
        ("file:///etc/passwd", r"cannot be downloaded \(No connection adapters.*check the address"),
        ("http://[", r"cannot be downloaded \(.*check the address"),
    ],
)
def test_bad_redirects_are_not_followed_again(site, target, address, message):
    site.redirect = address
    failing(site, target, message)
    assert len(site.requests) <= 31


@pytest.mark.parametrize(
    ("length", "message"),
    [
        ("many", r"no sensible size \(Content-Length: 'many'\)"),
        ("-5", r"no sensible size \(Content-Length: '-5'\)"),
        (str(10**18), "where at most 16384.0 MiB are expected"),
    ],
)
def test_nonsense_of_a_length_is_named(site, target, length, message):
    site.length = length
    failing(site, target, message)
    assert len(site.requests) == 1


def test_a_download_has_a_ceiling(site, target):
    site.lengths = False
    with pytest.raises(PipelineError, match=r"0\.1 MiB or more where at most 0\.0 MiB are expected"):
        download(f"{site.url}/a.zip", target, target.with_name("a.zip.part"), check_archive, limit=50_000)
    assert list(target.parent.iterdir()) == []


def test_credentials_are_sent_and_not_part_of_the_address(site, target):
    url, auth = split_credentials(site.url.replace("://", "://some%40body:p%3Aw@"))
    assert (url, auth) == (site.url, ("some@body", "p:w"))
    download(f"{url}/a.zip", target, target.with_name("a.zip.part"), check_archive, auth=auth)
    assert site.authorisations == ["Basic " + base64.b64encode(b"some@body:p:w").decode()]


def test_a_page_in_place_of_the_archive(site, target):
    site.page = b"<!DOCTYPE html><title>Quota exceeded</title>"
    failing(site, target, "a web page was served in place of the file")
    site.page = None
    (site.folder / "a.zip").write_bytes(b"<html>Please log in</html>" * 100)
    failing(site, target, r"a web page \(log-in, quota or notice\) where a zip, rar or tar archive is expected")


def test_a_truncated_file_is_found_without_a_length(site, target):
    site.lengths, site.cut_after = False, [60_000]
    failing(site, target, "a truncated zip archive where")


def test_the_checksum_is_enforced(site, target):
    failing(site, target, f"wrong checksum.*{'0' * 64}", sha256="0" * 64)
    right = hashlib.sha256((site.folder / "a.zip").read_bytes()).hexdigest()
    fetch(site, target, sha256=right)
    site.requests.clear()
    fetch(site, target, sha256=right)
    assert site.requests == []


def test_a_full_disk_is_seen_before_the_download(site, target, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(module.shutil, "disk_usage", lambda path: usage(10**6, 10**6 - 50, 50))
    failing(site, target, r"the disk is full \(0\.0 MiB free; 0\.1 MiB are still to come\).*goes on where it stopped")


def test_a_disk_that_fills_up_meanwhile(site, target, monkeypatch):
    class Full:
        """A file of which the second chunk does not fit."""

        def __init__(self, file):
            self._file, self._chunks = file, 0

        def __enter__(self):
            return self

        def __exit__(self, *error):
            self._file.close()

        def write(self, data):
            self._chunks += 1
            if self._chunks > 1:
                raise OSError(errno.ENOSPC, "No space left on device")
            self._file.write(data)

    original = Path.open

    def opened(path, mode="r", *arguments, **options):
        file = original(path, mode, *arguments, **options)
        return Full(file) if path.name.endswith(".part") and mode != "rb" else file

    with monkeypatch.context() as patch:
        patch.setattr(module, "CHUNK", 1000)
        patch.setattr(Path, "open", opened)
        failing(site, target, "the disk is full .*No space left on device.*make room", keeps_part=True)
    site.requests.clear()
    fetch(site, target)
    assert ranges(site) == ["bytes=1000-"]
