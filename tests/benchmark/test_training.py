"""The benchmark measures both ways of training, in processes of their own."""

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "pipeline.benchmark.training", "--size", "tiny", "--cases", "4", "--batch-sizes", "2"]


@pytest.mark.long
def test_both_ways_are_measured(tmp_path):
    output = tmp_path / "benchmark.csv"
    command = [*COMMAND, "--variants", "telescopic", "--threads", "1", "--no-warm-up", "--output", str(output)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    table = pd.read_csv(output)
    assert table[["variant", "batch_size", "way"]].values.tolist() == [
        ["telescopic", 2, "plain"],
        ["telescopic", 2, "fast"],
    ]
    # Two steps of two images make the epoch.
    assert table["step_ms"].tolist() == pytest.approx((2000 / table["images_per_second"]).tolist(), rel=1e-6)
    assert (table[["images_per_second", "peak_mib", "mfu_percent"]] > 0).all(axis=None)
    # Both are shares of the same ceiling, so they stand to each other as the throughputs do.
    speed, share = table["images_per_second"], table["mfu_percent"]
    assert share[1] / share[0] == pytest.approx(speed[1] / speed[0], rel=1e-6)
    assert set(table["precision"]) <= {"fp32", "fp16"}
    assert f"{speed[1] / speed[0]:.2f} times plain" in done.stderr


def test_a_variant_that_trains_nothing_is_refused():
    done = subprocess.run([*COMMAND, "--variants", "zero_shot"], cwd=ROOT, capture_output=True, text=True, timeout=100)
    assert done.returncode == 1
    assert "'zero_shot' is not a trained variant; allowed: decoder_only" in done.stderr
    assert "Traceback" not in done.stderr
