"""dsc.csv from the per-case scores of a grid of runs."""

import pytest
from evaluation_support import call, write_run

from pipeline.evaluation import collect
from pipeline.runtime.errors import PipelineError

SCORES = ["dsc", "iou", "hd95", "nsd", "ece"]
TARGETS = ["cases_with_target", "dsc_with_target"]


def test_dsc_csv_of_a_grid(tmp_path):
    for dataset, scores in (("busi", [0.25, 0.75]), ("bkai", [1.0, 0.5, 0.0])):
        for variant, seed in (("telescopic", 41), ("telescopic", 42), ("lora", 41)):
            write_run(tmp_path, dataset, variant, seed, scores, types={"p0": 0, "p1": 1, "p2": 0.8})
    output, seeds = tmp_path / "dsc.csv", {"telescopic": [41, 42], "lora": [41]}
    call(collect.main, results=tmp_path, datasets=["busi", "bkai"], seeds=seeds, output=output)
    header, *rows = (line.split(",") for line in output.read_text().splitlines())
    assert header == ["dataset", "variant", "seed", "cases", *SCORES, "misses", *TARGETS, "prompt_sd"]
    order = [["telescopic", "41"], ["telescopic", "42"], ["lora", "41"]]
    assert [row[:3] for row in rows] == [[dataset, *run] for dataset in ("busi", "bkai") for run in order]
    # IoU of DSC 0.25 is 1/7, of 0.75 is 3/5.
    assert [float(value) for value in rows[0][3:]] == pytest.approx(
        [2, 0.5, (1 / 7 + 3 / 5) / 2, 20.0, 0.5, 0.1, 0, 2, 0.5, 0.1 / 2**0.5]
    )
    assert rows[3][3:5] == ["3", "0.5"]


def test_a_run_without_scores(tmp_path):
    output = tmp_path / "dsc.csv"
    with pytest.raises(PipelineError, match=r"runs/busi/lora/seed41/per_case\.csv: no such file"):
        call(collect.main, results=tmp_path, datasets=["busi"], seeds={"lora": [41]}, output=output)
    assert not output.exists()
