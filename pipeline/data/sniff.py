"""The kind of a file, by its first and last bytes."""

from pathlib import Path

ZIP_END = b"PK\x05\x06"
GZIP = b"\x1f\x8b"
ARCHIVES = ("zip", "rar", "tar.gz", "tar")
RAR4, RAR5 = b"Rar!\x1a\x07\x00", b"Rar!\x1a\x07\x01\x00"


def _is_page(start: bytes) -> bool:
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    return text.startswith((b"<!doctype html", b"<html", b"<?xml", b"<head", b"<script", b"<!--"))


def kind_of_file(path: str | Path) -> str:
    """One of :data:`ARCHIVES`, "an empty file", "a web page", "a truncated zip archive", "a file of another kind"."""
    path = Path(path)
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(1024)
        # The end record of a zip is 22 bytes and a comment of at most 65,535.
        file.seek(max(0, size - 65_557))
        end = file.read()
    if not size:
        return "an empty file"
    if start.startswith(b"PK"):
        return "zip" if ZIP_END in end else "a truncated zip archive"
    if start.startswith((RAR4, RAR5)):
        return "rar"
    if start.startswith(GZIP):
        return "tar.gz"
    if start[257:262] == b"ustar":
        return "tar"
    return "a web page" if _is_page(start) else "a file of another kind"
