"""How many GPUs a job sees."""

import pytest

from pipeline.runtime.gpus import visible_gpus


@pytest.mark.parametrize(("visible", "most"), [("", 0), ("-1", 0), ("3", 1)])
def test_visible_gpus_respects_the_environment(monkeypatch, visible, most):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert visible_gpus() <= most
