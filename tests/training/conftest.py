"""Prepared folders for a whole run."""

from pathlib import Path

import pytest
from data_support import make_clinicdb
from model_support import save_tiny

from pipeline.data.standardise import standardise
from pipeline.data.tensors import prepare


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> tuple[Path, Path]:
    """Folders of prepared tensors and of a tiny backbone."""
    folder = tmp_path_factory.mktemp("study")
    archives, annotations = make_clinicdb(("train",) * 9 + ("val",) * 2 + ("test",) * 3).write(folder)
    standardise("clinicdb", archives, annotations, "published", 0, 2, folder / "dataset")
    prepare(folder / "dataset", 64, 2, folder / "tensors")
    return folder / "tensors", save_tiny(folder / "backbone")
