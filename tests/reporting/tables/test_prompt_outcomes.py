"""Tables ``prompt_matrix`` and ``prompt_outcomes`` from literal scores."""

import pandas as pd
import pytest
from evaluation_support import write_dsc_of, write_run
from reporting_support import run_main

from pipeline.reporting.tables import prompt_matrix, prompt_outcomes

OWN = {"prompt_p1": "p1", "prompt_p2": "p2"}
# DSC by the type of training, and that of the model trained with all, under p0, p1 and p2.
DSC = {"all": (0.6, 0.7, 0.7), "prompt_p1": (0.2, 0.75, 0.6), "prompt_p2": (0.3, 0.5, 0.73)}


@pytest.fixture
def results(tmp_path):
    """Every score is higher by 0.001 for each further seed; no difference depends on it."""
    runs = []
    for variant, values in DSC.items():
        for seed in (41, 42, 43):
            base = 0.001 * (seed - 41)
            types = {name: value + base for name, value in zip(("p0", "p1", "p2"), values, strict=True)}
            runs.append(
                write_run(tmp_path, "busi", variant, seed, [1, 1], types={"p1": 0} if variant in OWN else types)
            )
            if variant in OWN:  # scored under all types in a further folder
                write_run(tmp_path / "x", "busi", variant, seed, [1, 1], types=types)
    (tmp_path / "x/runs").rename(tmp_path / "every_prompt")
    write_dsc_of(tmp_path, runs)
    return tmp_path


def render(module, results, *options):
    shared = ["--results", results, "--runs", results / "dsc.csv", "--scores", results / "every_prompt", "--own", OWN]
    run_main(module, *shared, *options, "--labels", {"all": "All"}, "--output", results / "made")
    return pd.read_csv(results / "made.csv"), (results / "made.md").read_text()


def test_matrix(results):
    table, text = render(prompt_matrix, results)
    table = table.set_index("variant")
    for variant, values in DSC.items():
        assert table.loc[variant, ["p0", "p1", "p2"]].tolist() == pytest.approx([100 * v + 0.1 for v in values])
    assert "Rows: the prompts of training" in text and "Made from 9 runs" in text


def test_models_with_one_type_are_compared_under_the_same_prompts(results):
    table, text = render(prompt_outcomes, results, "--reference", "all", "--margin", 1)
    table = table.set_index("evaluated")
    assert table["difference"].to_dict() == pytest.approx(
        {"its own type": (5 + 3) / 2, "other types": (-10 - 20) / 2, "the empty prompt": (-40 - 30) / 2}
    )
    assert table["outcome"].tolist() == ["better", "worse", "worse"]
    assert "mean of 2 models that were each trained with one prompt type (p1, p2) minus All" in text
