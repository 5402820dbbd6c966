"""Tar archives, plain and packed, damaged and hostile."""

import gzip
import io
import random
import tarfile

import pytest
from data_support import assert_refused, memory_of_checking

from pipeline.data.sniff import kind_of_file
from pipeline.data.unpack import check_members, list_members, unpack
from pipeline.runtime.errors import PipelineError

CONTENT = {f"annotations/trimaps/Abyssinian_{index}.png": random.Random(index).randbytes(3000) for index in range(4)}


def member(name, kind=tarfile.REGTYPE, size=0, target=""):
    info = tarfile.TarInfo(name)
    info.type, info.size, info.linkname = kind, size, target
    return info


def write(path, members=CONTENT, mode="w:gz", extra=()):
    with tarfile.open(path, mode) as archive:
        for name, content in members.items():
            archive.addfile(member(name, size=len(content)), io.BytesIO(content))
        for info in extra:
            archive.addfile(info)
    return path


@pytest.mark.parametrize(("mode", "kind"), [("w:gz", "tar.gz"), ("w", "tar")])
def test_a_tar_comes_back_byte_for_byte(tmp_path, mode, kind):
    litter = {"annotations/trimaps/._Abyssinian_0.png": b"?"}
    path = write(tmp_path / "a.tar.gz", CONTENT | litter, mode, [member("annotations", tarfile.DIRTYPE)])
    assert kind_of_file(path) == kind
    assert list_members(path) == dict.fromkeys(CONTENT, 3000)
    check_members(path, list(CONTENT))
    wanted = list(CONTENT)[1:3]
    assert unpack(path, tmp_path / "out", wanted) == 6000
    found = {p.relative_to(tmp_path / "out").as_posix(): p.read_bytes() for p in (tmp_path / "out").rglob("*.png")}
    assert found == {name: CONTENT[name] for name in wanted}


def cut(path):
    write(path).write_bytes(path.read_bytes()[:-2000])


def flipped(path):
    data = bytearray(write(path).read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)


def wrong_checksum(path):
    data = bytearray(write(path).read_bytes())
    data[-8] ^= 0xFF
    path.write_bytes(data)


def huge_header(path):
    """An extended header that says that it has 100 MB."""
    header = member("x", tarfile.XHDTYPE, size=10**8).tobuf(tarfile.USTAR_FORMAT)
    path.write_bytes(gzip.compress(header + bytes(10**7)))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path: write(path, {"../evil.txt": b"x"}), "points outside"),
        (lambda path: write(path, {"/etc/evil.txt": b"x"}), "points outside"),
        (lambda path: write(path, extra=[member("images", tarfile.SYMTYPE, target="/etc")]), "'images' is a link"),
        (lambda path: write(path, extra=[member("hard", tarfile.LNKTYPE, target="x")]), "'hard' is a link"),
        (lambda path: write(path, extra=[member("device", tarfile.CHRTYPE)]), "'device' is a link or a device"),
        (lambda path: write(path, extra=[member("pipe", tarfile.FIFOTYPE)]), "'pipe' is a link or a device"),
        (lambda path: write(path, extra=[member(next(iter(CONTENT)))]), "twice"),
        (cut, "damaged"),
        (flipped, "damaged"),
        (wrong_checksum, r"damaged .*CRC"),
        (huge_header, r"damaged \(a header of 1000\d+ bytes\)"),
        (lambda path: path.write_bytes(gzip.compress(b"no tar at all" * 100)), "damaged"),
    ],
)
def test_a_damaged_or_hostile_tar_is_named(tmp_path, spoil, message):
    path = tmp_path / "a.tar.gz"
    spoil(path)
    assert_refused(path, message)


def test_more_than_the_limit_is_not_unpacked(tmp_path):
    path = write(tmp_path / "bomb.tar.gz", {"a": bytes(10**6), "b": bytes(10**6)})
    assert path.stat().st_size < 5000
    with pytest.raises(PipelineError, match="unpacks to more than"):
        unpack(path, tmp_path / "out", ["a", "b"], limit=1_500_000)


def test_members_that_declare_too_much_are_not_decompressed(tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.data.unpack.MAX_UNPACKED_BYTES", 10**6)
    path = write(tmp_path / "bomb.tar.gz", {"a": bytes(10**6), "b": b"1"})
    with pytest.raises(PipelineError, match="unpacks to more than"):
        list_members(path)


def test_a_tar_is_streamed(tmp_path):
    path = write(tmp_path / "bomb.tar.gz", {"a": bytes(10**8)})
    assert memory_of_checking(path) < 20_000  # KiB
