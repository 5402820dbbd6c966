"""Table ``transfer_outcomes`` from literal scores."""

import pandas as pd
import pytest
from evaluation_support import write_dsc_of, write_run, write_transfer_scores
from reporting_support import run_main

from pipeline.reporting.tables import transfer_outcomes

GAPS = {("busi", "bkai"): 0.02, ("bkai", "busi"): 0.04, ("busi", "pets"): -0.1, ("pets", "bkai"): 0.0}


@pytest.fixture
def results(tmp_path):
    """Two variants, two datasets and one beside them: LoRA's DSC is Telescopic's and the gap of the pair, or 0.01."""
    runs = []
    for trained in ("busi", "bkai", "pets"):
        for variant in ("telescopic", "lora"):
            for seed in (41, 42, 43):
                runs.append(write_run(tmp_path, trained, variant, seed, [0.5, 0.6]))
                rows = [
                    (tested, case, 0.5 + 0.001 * seed + (variant == "lora") * (GAPS.get((trained, tested), 0.01)))
                    for tested in ("busi", "bkai", "pets")
                    for case in ("a", "b")
                ]
                write_transfer_scores(tmp_path, runs[-1], rows)
    write_dsc_of(tmp_path, runs)
    return tmp_path


def test_directions_are_compared_apart_and_without_the_own_dataset(results):
    options = ["--results", results, "--runs", results / "dsc.csv", "--scores", results / "transfer", "--margin", 1]
    options += ["--reference", "telescopic", "--beside", ["pets"], "--output", results / "made"]
    run_main(transfer_outcomes, *options, "--labels", {"lora": "LoRA", "pets": "Pets", "telescopic": "Telescopic"})
    table = pd.read_csv(results / "made.csv").set_index("transfer")
    assert list(table.index) == ["within the study", "to the others", "from the others"]
    assert table["difference"].tolist() == pytest.approx([3.0, (-10 + 1) / 2, (0 + 1) / 2])
    assert table["outcome"].tolist() == ["better", "worse", "equivalent"]
    text = (results / "made.md").read_text()
    assert "| LoRA | within the study | 2 | +3.00 [+3.00, +3.00] |" in text
    assert "The others: Pets." in text and "from Telescopic" in text
