"""The table of released checkpoints (workflow/resources/released.yaml), typed."""

import functools
from pathlib import Path
from typing import Literal

from pydantic import Field, TypeAdapter

from pipeline.data.sources import Facts, Key, Sha256, read_facts
from pipeline.runtime.errors import PipelineError

TABLE = Path(__file__).parents[2] / "workflow" / "resources" / "released.yaml"


class ReleasedCheckpoint(Facts):
    """A checkpoint on the Hugging Face hub, of one method trained on one dataset."""

    dataset: Key = Field(description="On whose test split it is scored; a key of datasets.yaml")
    method: Literal["telescopic", "vlsm_dense", "vlsm_shallow"] = Field(
        description="Its kind, and the method of the reported number that its score is compared with"
    )
    repository: str = Field(pattern=r"^[\w.-]+/[\w.-]+$", description="owner/name")
    repository_type: Literal["model", "space"] = "model"
    revision: str | None = Field(
        None, pattern=r"^[0-9a-f]{40}$", description="Commit; that of the default branch if absent"
    )
    file: str | None = Field(None, description="Path in the repository; the one checkpoint in it if absent")
    sha256: Sha256 | None = Field(None, description="Of the file; recorded at first use if absent")

    def page(self, revision: str) -> str:
        """Address at which a browser lists the repository's files."""
        place = "spaces/" if self.repository_type == "space" else ""
        return f"https://huggingface.co/{place}{self.repository}/tree/{revision}"


@functools.cache
def released_checkpoints() -> dict[str, ReleasedCheckpoint]:
    """The table, read and checked once."""
    return read_facts(TABLE, TypeAdapter(dict[Key, ReleasedCheckpoint]).validate_python)


def released_checkpoint(key: str) -> ReleasedCheckpoint:
    """The entry ``key``.

    Raises:
        PipelineError: there is none; the message lists those there are.
    """
    entries = released_checkpoints()
    if key not in entries:
        raise PipelineError(f"checkpoint {key!r} is unknown; known ({TABLE.name}): {list(entries)}")
    return entries[key]
