"""Table ``gradients`` from literal histories."""

import math

import numpy as np
import pandas as pd
import pytest
from evaluation_support import write_dsc_of, write_run
from reporting_support import run_main

from pipeline.reporting.tables import gradients
from pipeline.runtime.errors import PipelineError

DIMENSIONS = {"base_128": 128, "telescopic": 64, "base_32": 32}
# Largest norm as a multiple of the reference's, by dataset and seed.
FACTORS = {"base_128": {"busi": (8, 8, 8.4), "bkai": (2, 2.1, 2)}, "base_32": {"busi": (1,) * 3, "bkai": (1,) * 3}}


@pytest.fixture
def results(tmp_path):
    runs = []
    for variant in (*DIMENSIONS, "uniform"):
        for dataset in ("busi", "bkai"):
            for at, seed in enumerate((41, 42, 43)):
                run = write_run(tmp_path, dataset, variant, seed, [0.5])
                largest = 0.3 * (1 + at) * FACTORS.get(variant, {}).get(dataset, (1,) * 3)[at]
                history = pd.DataFrame({"epoch": [1, 2, 3], "steps": [10, 20, 30]})
                history["gradient_norm_mean"] = [0.1, np.nan, 0.2]
                history["gradient_norm_max"] = [largest, np.nan, largest / 2]
                history["skipped_steps"] = [0, 10 * (variant == "base_128"), 0]
                history["loss_scale"] = [1024.0, 512.0, 2048.0]
                history.to_csv(run.folder / "history.csv", index=False)
                runs.append(run)
    write_dsc_of(tmp_path, runs)
    return tmp_path


def render(results):
    options = ["--results", results, "--runs", results / "dsc.csv", "--reference", "telescopic"]
    options += ["--dimensions", DIMENSIONS, "--labels", {"base_128": "D = 128"}, "--output", results / "gradients"]
    run_main(gradients, *options)
    return pd.read_csv(results / "gradients.csv").set_index("variant"), (results / "gradients.md").read_text()


def test_ratios_are_paired_and_averaged_over_datasets(results):
    table, text = render(results)
    assert list(table.index) == ["base_32", "telescopic", "base_128"]
    wide = table.loc["base_128"]
    logarithms = [sum(map(math.log, factors)) / 3 for factors in FACTORS["base_128"].values()]
    assert wide["ratio"] == pytest.approx(math.exp(sum(logarithms) / 2), rel=1e-4)
    assert wide["low"] < wide["ratio"] < wide["high"] and wide["outcome"] == "larger"
    assert table.loc["base_32", ["ratio", "outcome"]].tolist() == [1, "equivalent"]
    assert (wide["skipped_percent"], wide["loss_scale"], wide["runs"]) == (pytest.approx(100 / 3), 512, 6)
    assert table.loc["telescopic", "norm_mean"] == pytest.approx(0.15)
    assert table.loc["telescopic", "norm_max"] == pytest.approx(0.3 * 6 ** (1 / 3), rel=1e-4)
    assert "| D = 128 | 128 | 6 | 0.15 |" in text and "histories" in text and "within a factor of 2" in text


def test_a_training_without_a_finite_gradient_is_named(results):
    path = results / "runs/busi/base_32/seed42/history.csv"
    pd.read_csv(path).assign(gradient_norm_max=np.nan).to_csv(path, index=False)
    with pytest.raises(PipelineError, match=r"base_32/seed42/history\.csv: no epoch has a finite gradient"):
        render(results)
