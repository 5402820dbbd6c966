"""Members of an archive, and the error of an archive that cannot be used."""

from dataclasses import dataclass

from pipeline.runtime.errors import PipelineError


class ArchiveError(PipelineError):
    """An archive is damaged, hostile or the wrong one. The message names it; whoever knows its source adds the fix."""


@dataclass(frozen=True)
class Member:
    """An entry of an archive: its path, unpacked bytes as declared, and "file", "folder" or "link" (or a device)."""

    name: str
    size: int
    kind: str
