"""Table ``methods``: sizes, ranks, fronts, time and memory of literal runs."""

import json

import pandas as pd
import pytest
from evaluation_support import write_dsc_of, write_run
from reporting_support import run_main

from pipeline.reporting.tables import methods

# Trained parameters, DSC with seeds 41 and 42, and seconds.
RUNS = {
    "zero_shot": (0, (0.4, 0.4), 0.0),
    "bitfit": (161_249, (0.7, 0.72), 300.0),
    "adaptformer": (617_136, (0.8, 0.78), 500.0),
    "telescopic": (613_297, (0.82, 0.76), 400.0),
}


def write(root, seeds):
    runs = []
    for variant, (_, levels, seconds) in RUNS.items():
        for seed, level in zip(seeds, levels, strict=False):
            runs.append(write_run(root, "busi", variant, seed, [level, level]))
            path = runs[-1].folder / "manifest.json"
            taken = {"training_seconds": seconds, "peak_memory": {"host_mib": 500, "gpu_mib": 2048}}
            path.write_text(json.dumps(json.loads(path.read_text()) | taken))
    cost = pd.DataFrame({"variant": list(RUNS), "trainable_parameters": [counts for counts, _, _ in RUNS.values()]})
    cost.to_csv(root / "cost.csv", index=False)
    dsc = write_dsc_of(root, runs)
    return ["--results", root, "--runs", dsc, "--dsc", dsc, "--cost", root / "cost.csv", "--title", "Methods"]


@pytest.fixture
def rendered(tmp_path):
    def render(seeds):
        options = [*write(tmp_path, seeds), "--variants", list(RUNS), "--datasets", ["busi"]]
        options += ["--reference", "telescopic", "--labels", {"telescopic": "Ours", "busi": "BUSI"}]
        run_main(methods, *options, "--note", "Made up.", "--output", tmp_path / "methods")
        return pd.read_csv(tmp_path / "methods.csv").set_index("variant"), (tmp_path / "methods.md").read_text()

    return render


def test_cells(rendered):
    frame, text = rendered([41, 42])
    assert frame["size"].to_dict() == {
        "zero_shot": "natural",
        "bitfit": "natural",
        "adaptformer": "matched",
        "telescopic": "matched",
    }
    assert frame["dsc"].tolist() == pytest.approx([40, 71, 79, 79]) and frame["rank"].tolist() == [4, 3, 1.5, 1.5]
    # AdaptFormer reaches Ours' DSC with more parameters, in more time; both take the same memory.
    fronts = [column for column in frame if column.startswith("front_")]
    assert frame[fronts].to_numpy().tolist() == [
        [True, False, False],
        [True, True, False],
        [False, False, True],
        [True, True, True],
    ]
    assert frame["memory_gib"].dropna().tolist() == [2, 2, 2]
    assert (
        "| Ours | 613,297 | matched | **79.00** ± 4.24 | 1.5<sup>n</sup> | 6.67 | 2.00 | parameters, time, memory |"
        in text
    )
    assert "| zero_shot | 0 | natural | 40.00 ± 0.00 | 4.0<sup>n</sup> | n/a | n/a | parameters |" in text
    assert "Training, minutes" in text and "3.32 or more apart (Nemenyi)" in text and "peak GPU memory" in text
    assert "within 5% of those of Ours" in text and "Made from 8 runs" in text


def test_one_training_each_is_no_test(rendered):
    frame, text = rendered([41])
    assert frame["rank_p"].isna().all() and "too few for a test" in text and "<sup>n</sup>" not in text
