"""What the tests share: their order, cuBLAS's fixed workspace, and a scored study (scoring, inference)."""

import os
from pathlib import Path
from typing import Any, NamedTuple

import pytest

# Read at the process's first product on a GPU, which may be of a test before those of deterministic training.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whole studies come first, so that no core is left with one of them at the end."""
    items.sort(key=lambda item: "workflow" not in item.path.parts)


class Study(NamedTuple):
    """A results folder, a telling threshold and the options of score_run but for what it scores and writes."""

    results: Path
    threshold: float
    options: dict[str, Any]


@pytest.fixture(scope="session")
def study(tmp_path_factory) -> Study:
    import torch
    from scoring_support import RUN, telling_threshold, write_study

    torch.set_num_threads(1)
    results = tmp_path_factory.mktemp("study")
    write_study(results)
    threshold = telling_threshold(results)
    options = {"backbone": results / "backbone", "weights": results / RUN / "weights.safetensors"}
    return Study(results, threshold, options | {"threshold": threshold, "threads": 1, "batch_size": 2})
