"""A scored study that the tests of scoring share."""

from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from scoring_support import RUN, SEED, telling_threshold, write_study

torch.set_num_threads(1)


class Study(NamedTuple):
    """A results folder, a telling threshold and the options of a scoring command line."""

    results: Path
    threshold: float
    options: list[object]


@pytest.fixture(scope="session")
def study(tmp_path_factory) -> Study:
    results = tmp_path_factory.mktemp("study")
    write_study(results)
    threshold = telling_threshold(results)
    options = ["--backbone", results / "backbone", "--weights", results / RUN / "weights.safetensors"]
    options += ["--seed", SEED, "--threshold", threshold, "--threads", 1, "--batch-size", 2]
    return Study(results, threshold, options)
