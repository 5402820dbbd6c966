"""Prepared folders for a whole run."""

from pathlib import Path

import pytest
from training_support import write_prepared


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> tuple[Path, Path]:
    """Folders of prepared tensors and of a tiny backbone."""
    return write_prepared(tmp_path_factory.mktemp("study"))
