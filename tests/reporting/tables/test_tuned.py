"""Table ``tuned`` from literal scores."""

import json

import pandas as pd
import pytest
from evaluation_support import write_dsc_of, write_run
from reporting_support import run_main

from pipeline.reporting.tables import tuned

# Mean DSC on two datasets; what a seed adds to every run, and to those of LoRA in opposite directions.
DSC = {
    "lora": (0.70, 0.80),
    "uniform": (0.75, 0.75),
    "telescopic": (0.75, 0.75),
    "lora_tuned": (0.78, 0.82),
    "uniform_tuned": (0.75, 0.75),
    "telescopic_tuned": (0.77, 0.77),
}
NOISE = {41: 0.0, 42: 0.003, 43: -0.003}
METHODS = {"lora": "lora_tuned", "uniform": "uniform_tuned", "telescopic": "telescopic_tuned"}


def trials(method, chosen):
    points = [
        {
            "variant": method if factor == 1 else f"{method}_rate_{factor}",
            "factor": factor,
            "rates": {"learning_rate": 1e-3 * factor, "learning_rates": {}, "weight_decay": 0},
            "val_dsc": {"busi": 0.8},
            "mean": 0.8 if factor == chosen else 0.7,
        }
        for factor in (1, 3, 10)
    ]
    return {"trials": points, "chosen": next(point for point in points if point["factor"] == chosen)}


@pytest.fixture
def made(tmp_path):
    """The table's CSV by setting and method, and its text."""
    runs = []
    for variant, means in DSC.items():
        for dataset, mean in zip(("busi", "bkai"), means, strict=True):
            for seed, noise in NOISE.items():
                noise = -noise if variant == "lora_tuned" else noise
                runs.append(write_run(tmp_path, dataset, variant, seed, [mean + noise - 0.1, mean + noise + 0.1]))
    write_dsc_of(tmp_path, runs)
    methods = {"lora": trials("lora", 10), "uniform": trials("uniform", 1), "telescopic": trials("telescopic", 3)}
    tuning = {"datasets": ["busi"], "seed": 41, "methods": methods}
    methods["telescopic"]["trials"][1]["rates"]["learning_rates"] = {"encoders": 1e-5, "decoder": 1e-3}
    (tmp_path / "tuning.json").write_text(json.dumps(tuning))
    options = ["--results", tmp_path, "--runs", tmp_path / "dsc.csv", "--dsc", tmp_path / "dsc.csv", "--margin", 1]
    options += ["--datasets", ["busi", "bkai"], "--tuning", tmp_path / "tuning.json", "--methods", METHODS]
    labels = {"lora": "LoRA", "uniform": "Uniform", "telescopic": "Telescopic", "busi": "BUSI", "bkai": "BKAI"}
    run_main(tuned, *options, "--reference", "telescopic", "--labels", labels, "--output", tmp_path / "made")
    table = pd.read_csv(tmp_path / "made.csv").set_index(["setting", "variant"])
    return table, (tmp_path / "made.md").read_text()


def test_methods_stand_in_both_settings_with_their_rates(made):
    table, text = made
    assert table["average"].round(2).tolist() == [75, 75, 75, 80, 75, 77]
    assert table["factor"].tolist() == [1, 1, 1, 10, 1, 3]
    assert table.loc[("tuned", "telescopic"), "rates"] == "1e-05 / 0.001"
    lines = text.splitlines()
    assert [line.split("|")[1:4] for line in lines if line.startswith("| LoRA")] == [
        [" LoRA ", " 0.001 ", " 1 "],
        [" LoRA, tuned ", " 0.01 ", " 10 (edge) "],
    ]
    assert "Each method had 3 trials, with seed 41" in text and "Made from 36 runs" in text


def test_each_setting_is_compared_with_its_own_reference(made):
    table, _ = made
    outcomes = table["average_outcome"].unstack("setting")
    assert outcomes.loc["uniform"].to_dict() == {"protocol": "equivalent", "tuned": "worse"}
    assert outcomes.loc["lora", "tuned"] == "better" and table.loc[("protocol", "lora"), "busi_outcome"] == "worse"
    assert outcomes.loc["telescopic"].isna().all()


def test_tuned_and_protocol_are_compared_method_by_method(made):
    table, text = made
    after = table.loc["tuned"]
    assert after["average_change_difference"].round(4).to_dict() == pytest.approx(
        {"lora": 5, "uniform": float("nan"), "telescopic": 2}, nan_ok=True
    )
    assert after["average_change_outcome"].to_dict() == {
        "lora": "better",
        "uniform": "same rates",
        "telescopic": "better",
    }
    # A difference that all seeds share is certain; opposite ones make it less so.
    assert after.loc["telescopic", "average_change_low"] == pytest.approx(2)
    assert after.loc["lora", "average_change_low"] < 4.9
    assert table.loc["protocol", "average_change_outcome"].isna().all()
    (line,) = [line for line in text.splitlines() if line.startswith("| Uniform, tuned")]
    assert line.endswith("| n/a | same rates |")
