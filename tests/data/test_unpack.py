"""Unpacking, with damaged and hostile archives."""

import errno
import random
import warnings
import zipfile

import pytest
import rars
from data_support import assert_refused, memory_of_checking

from pipeline.data.unpack import check_members, list_members, unpack
from pipeline.runtime.errors import PipelineError

CONTENT = {f"Ground Truth/benign ({index}).tif": random.Random(index).randbytes(500) + bytes(500) for index in range(5)}


def write_zip(path, members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def write_rar(path, version, solid=False, members=CONTENT):
    builder = rars.RarBuilder(format=version, solid=solid)
    for name, content in members.items():
        builder.add_bytes(content, name)
    builder.write(str(path))
    return path


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_zip_comes_back_byte_for_byte(tmp_path):
    path = write_zip(tmp_path / "a.zip", CONTENT)
    assert list(list_members(path)) == list(CONTENT)
    check_members(path, list(CONTENT))
    assert unpack(path, tmp_path / "out", list(CONTENT)) == 5000
    assert contents(tmp_path / "out") == CONTENT


@pytest.mark.parametrize(("version", "solid"), [("rar29", False), ("rar29", True), ("rar50", False), ("rar50", True)])
def test_a_rar_comes_back_byte_for_byte(tmp_path, version, solid):
    path = write_rar(tmp_path / "a.rar", version, solid)
    assert list(list_members(path)) == list(CONTENT)
    wanted = list(CONTENT)[1:3]
    unpack(path, tmp_path / "out", wanted)
    assert contents(tmp_path / "out") == {name: CONTENT[name] for name in wanted}


def test_what_the_file_is_counts_and_not_its_ending(tmp_path):
    path = write_rar(tmp_path / "a.zip", "rar50")
    assert list(list_members(path)) == list(CONTENT)


def test_the_litter_of_macos_is_ignored(tmp_path):
    litter = ["__MACOSX/x/._a.png", "x/.DS_Store", "x/._a.png", "Thumbs.db"]
    path = write_zip(tmp_path / "a.zip", {**dict.fromkeys(litter, b"?"), "x/a.png": b"image", "x/sub/": b""})
    assert list_members(path) == {"x/a.png": 5}


def link(path):
    with zipfile.ZipFile(path, "w") as archive:
        info = zipfile.ZipInfo("images")
        info.create_system, info.external_attr = 3, 0o120777 << 16
        archive.writestr(info, "/etc")


def twice(first, second):
    def write(path):
        with zipfile.ZipFile(path, "w") as archive, warnings.catch_warnings(action="ignore"):
            archive.writestr(first, b"1")
            archive.writestr(second, b"2")

    return write


def named(name):
    return lambda path: write_zip(path, {"ok.txt": b"x", name: b"evil"})


def spoilt(method, change):
    """A zip of one compressible member whose bytes ``change`` alters."""

    def write(path):
        with zipfile.ZipFile(path, "w", method) as archive:
            archive.writestr("a.tif", b"some content of the file " * 200)
        path.write_bytes(change(bytearray(path.read_bytes())))

    return write


def flipped(data):
    data[80] ^= 0xFF
    return data


def not_utf8(path):
    write_zip(path, {"\u00e9.txt": b"x"})
    path.write_bytes(path.read_bytes().replace("\u00e9".encode(), b"\xff\xff"))


def empty_name(path):
    write_zip(path, {"x": b"1"})
    data = bytearray(path.read_bytes())
    place = data.rindex(b"PK\x01\x02")
    data[place + 28] = 0
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("write", "message"),
    [
        *((named(name), "points outside") for name in
          ("../evil.txt", "a/../../evil.txt", "/etc/evil.txt", "..\\evil.txt", "C:\\evil.txt")),
        (link, "'images' is a link"),
        (twice("a.png", "a.png"), r"'a\.png' twice"),
        (twice("a/b.png", "a//b.png"), "twice"),
        (twice("a/b.png", "./a/b.png"), "twice"),
        (twice("a", "a/b.png"), "'a' is both a file and a folder"),
        (named("x" * 300 + "/y.txt"), "cannot be written .*File name too long"),
        (not_utf8, "damaged"),
        (empty_name, "damaged|points outside"),
        (spoilt(zipfile.ZIP_STORED, lambda data: data.replace(b"some", b"same", 1)), "damaged .*CRC"),
        (spoilt(zipfile.ZIP_DEFLATED, flipped), "damaged"),
        (spoilt(zipfile.ZIP_BZIP2, flipped), "damaged"),
        (spoilt(zipfile.ZIP_LZMA, flipped), "damaged"),
        (spoilt(zipfile.ZIP_STORED, lambda data: data[:500] + data[1500:]), "damaged"),
        (spoilt(zipfile.ZIP_STORED, lambda data: data[1500:]), "a file of another kind|damaged"),
        (lambda path: path.write_bytes(b"PK\x03\x04" + bytes(100)), "a truncated zip archive"),
    ],
)  # fmt: skip
def test_a_damaged_or_hostile_zip_is_named(tmp_path, write, message):
    path = tmp_path / "a.zip"
    write(path)
    assert_refused(path, message)


def test_a_link_in_a_rar_is_refused(tmp_path):
    builder = rars.RarBuilder(format="rar50")
    builder.add_bytes(b"x", "a.txt")
    builder.add_unix_symlink("images", "/etc")
    builder.write(str(tmp_path / "a.rar"))
    with pytest.raises(PipelineError, match="'images' is a link"):
        list_members(tmp_path / "a.rar")


def test_more_than_the_limit_is_not_unpacked(tmp_path):
    path = write_zip(tmp_path / "bomb.zip", {"a": bytes(10**6), "b": bytes(10**6)})
    assert path.stat().st_size < 5000
    with pytest.raises(PipelineError, match="unpacks to more than"):
        unpack(path, tmp_path / "out", ["a", "b"], limit=1_500_000)


def test_a_size_that_the_archive_lies_about_does_not_help(tmp_path):
    path = write_zip(tmp_path / "bomb.zip", {"a": bytes(10**6)})
    data = path.read_bytes()
    # The uncompressed size in the local header and in the directory: claim 10 bytes.
    lie = data.replace((10**6).to_bytes(4, "little"), (10).to_bytes(4, "little"))
    assert lie != data
    path.write_bytes(lie)
    with pytest.raises(PipelineError, match=r"damaged|more than"):
        unpack(path, tmp_path / "out", ["a"], limit=1000)


@pytest.mark.parametrize("version", ["rar29", "rar50"])
def test_a_damaged_rar_is_found(tmp_path, version):
    path = write_rar(tmp_path / "a.rar", version)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(PipelineError, match=r"a\.rar: damaged"):
        unpack(path, tmp_path / "out", list_members(path))


def test_a_rar_is_streamed(tmp_path):
    path = write_rar(tmp_path / "bomb.rar", "rar50", members={"a": bytes(10**8)})
    assert path.stat().st_size < 100_000
    # KiB; the decoder's own window takes up to 64 MiB.
    assert memory_of_checking(path) < 80_000
    with pytest.raises(PipelineError, match="unpacks to more than"):
        unpack(path, tmp_path / "out", ["a"], limit=10**6)


def test_a_folder_in_place_of_an_archive(tmp_path):
    path = write_zip(tmp_path / "a.zip", CONTENT)
    unpack(path, tmp_path / "a", list(CONTENT))
    assert list_members(tmp_path / "a") == dict.fromkeys(CONTENT, 1000)
    wanted = list(CONTENT)[1:3]
    assert unpack(tmp_path / "a", tmp_path / "out", wanted) == 2000
    assert contents(tmp_path / "out") == {name: CONTENT[name] for name in wanted}
    (tmp_path / "a" / "link.tif").symlink_to("/etc/passwd")
    with pytest.raises(PipelineError, match=r"'link\.tif' is a link"):
        list_members(tmp_path / "a")


def test_a_disk_that_fills_up(tmp_path, monkeypatch):
    path = write_zip(tmp_path / "a.zip", CONTENT)

    def full(target, mode):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("pipeline.data.unpack.Path.open", full)
    monkeypatch.setattr("pipeline.data.unpack.kind_of_file", lambda path: "zip")
    with pytest.raises(PipelineError, match=r"out/.*: cannot be written \(No space left on device\); make room"):
        unpack(path, tmp_path / "out", list(CONTENT))
