"""What an archive's reader tells of its members."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Member:
    """An entry of an archive: its path, unpacked bytes as declared, and "file", "folder" or "link" (or a device)."""

    name: str
    size: int
    kind: str
