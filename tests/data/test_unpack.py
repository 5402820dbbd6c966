"""Unpacking, with damaged and hostile archives."""

import errno
import random
import zipfile

import pytest
import rars

from pipeline.data.unpack import list_members, unpack
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
    assert list_members(path) == list(CONTENT)
    assert unpack(path, tmp_path / "out", list(CONTENT)) == 5000
    assert contents(tmp_path / "out") == CONTENT


@pytest.mark.parametrize(("version", "solid"), [("rar29", False), ("rar29", True), ("rar50", False), ("rar50", True)])
def test_a_rar_comes_back_byte_for_byte(tmp_path, version, solid):
    path = write_rar(tmp_path / "a.rar", version, solid)
    assert list_members(path) == list(CONTENT)
    wanted = list(CONTENT)[1:3]
    unpack(path, tmp_path / "out", wanted)
    assert contents(tmp_path / "out") == {name: CONTENT[name] for name in wanted}


def test_what_the_file_is_counts_and_not_its_ending(tmp_path):
    path = write_rar(tmp_path / "a.zip", "rar50")
    assert list_members(path) == list(CONTENT)


def test_the_litter_of_macos_is_ignored(tmp_path):
    litter = ["__MACOSX/x/._a.png", "x/.DS_Store", "x/._a.png", "Thumbs.db"]
    path = write_zip(tmp_path / "a.zip", {**dict.fromkeys(litter, b"?"), "x/a.png": b"image", "x/sub/": b""})
    assert list_members(path) == ["x/a.png"]


@pytest.mark.parametrize("name", ["../evil.txt", "a/../../evil.txt", "/etc/evil.txt", "..\\evil.txt", "C:\\evil.txt"])
def test_a_path_outside_is_refused(tmp_path, name):
    path = write_zip(tmp_path / "a.zip", {"ok.txt": b"x", name: b"evil"})
    with pytest.raises(PipelineError, match="points outside"):
        list_members(path)


def test_a_link_in_a_zip_is_refused(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        link = zipfile.ZipInfo("images")
        link.create_system, link.external_attr = 3, 0o120777 << 16
        archive.writestr(link, "/etc")
    with pytest.raises(PipelineError, match="'images' is a link"):
        list_members(path)


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


def test_a_flipped_bit_is_found(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("a", b"some content of the file")
    path.write_bytes(path.read_bytes().replace(b"some content", b"same content"))
    with pytest.raises(PipelineError, match=r"a\.zip: damaged .*CRC"):
        unpack(path, tmp_path / "out", ["a"])


@pytest.mark.parametrize("version", ["rar29", "rar50"])
def test_a_damaged_rar_is_found(tmp_path, version):
    path = write_rar(tmp_path / "a.rar", version)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(PipelineError, match=r"a\.rar: damaged"):
        unpack(path, tmp_path / "out", list_members(path))


def test_a_name_that_stands_there_twice_is_refused(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.png", b"1")
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("a.png", b"2")
    with pytest.raises(PipelineError, match=r"'a.png' twice"):
        list_members(path)


def test_a_folder_in_place_of_an_archive(tmp_path):
    path = write_zip(tmp_path / "a.zip", CONTENT)
    unpack(path, tmp_path / "a", list(CONTENT))
    assert list_members(tmp_path / "a") == list(CONTENT)
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
