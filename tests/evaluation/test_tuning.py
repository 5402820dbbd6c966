"""tuning.json from literal histories."""

import json

import pandas as pd
import pytest
from evaluation_support import call, write_run

from pipeline.evaluation import tuning
from pipeline.evaluation.tuning import tune
from pipeline.runtime.errors import PipelineError

# Validation DSC by epoch of the trials of two methods, on two datasets.
TRIALS = {
    "lora": {0.1: ([0.5, 0.7], [0.5, 0.6]), 1: ([0.8, 0.4], [0.4, 0.7]), 3: ([0.9, 0.1], [0.5])},
    "uniform": {0.1: ([0.5], [0.5]), 1: ([0.6], [0.6]), 3: ([0.2, 0.7], [0.5])},
}
DATASETS = ["busi", "bkai"]
POINTS = {
    method: [{"variant": f"{method}_{factor}", "factor": factor, "rates": {"learning_rate": factor}} for factor in grid]
    for method, grid in TRIALS.items()
}


@pytest.fixture
def results(tmp_path):
    for method, grid in TRIALS.items():
        for factor, histories in grid.items():
            for dataset, history in zip(DATASETS, histories, strict=True):
                run = write_run(tmp_path, dataset, f"{method}_{factor}", 41, [1.0])
                pd.DataFrame({"val_dsc": history}).to_csv(run.folder / "history.csv", index=False)
    return tmp_path


def diverge(results, dataset, variant):
    path = results / f"runs/{dataset}/{variant}/seed41/manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"diverged": True}))


def test_the_best_mean_over_the_datasets_of_the_best_epoch_is_taken(results):
    call(tuning.main, results=results, trials=POINTS, datasets=DATASETS, seed=41, output=results / "tuning.json")
    found = json.loads((results / "tuning.json").read_text())
    assert (found["datasets"], found["seed"]) == (DATASETS, 41)
    lora = found["methods"]["lora"]
    assert [trial["mean"] for trial in lora["trials"]] == pytest.approx([0.65, 0.75, 0.7])
    assert lora["chosen"] == lora["trials"][1]
    assert lora["chosen"]["val_dsc"] == {"busi": 0.8, "bkai": 0.7} and lora["chosen"]["variant"] == "lora_1"
    # Two are equal: the one with the method's own rates.
    assert [trial["mean"] for trial in found["methods"]["uniform"]["trials"]] == pytest.approx([0.5, 0.6, 0.6])
    assert found["methods"]["uniform"]["chosen"]["factor"] == 1


def test_a_trial_that_diverged_is_not_taken(results):
    diverge(results, "bkai", "lora_1")
    lora = tune(results, POINTS, DATASETS, 41)["methods"]["lora"]
    assert lora["trials"][1]["val_dsc"] == {"busi": 0.8, "bkai": None} and lora["trials"][1]["mean"] is None
    assert lora["chosen"]["factor"] == 3
    for factor in TRIALS["lora"]:
        diverge(results, "busi", f"lora_{factor}")
    with pytest.raises(PipelineError, match=r"lora: every trial diverged; give tuning\.factors smaller ones"):
        tune(results, POINTS, DATASETS, 41)


def test_a_method_that_is_not_trained_is_refused(results):
    (results / "runs/busi/lora_1/seed41/history.csv").write_text("val_dsc\n")
    with pytest.raises(PipelineError, match=r"lora_1/seed41/history\.csv: no epoch with a validation DSC"):
        tune(results, POINTS, DATASETS, 41)
