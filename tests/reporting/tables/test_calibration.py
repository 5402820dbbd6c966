"""Table ``calibration``: errors in points by case and pooled, and the threshold of validation."""

import pytest

from pipeline.evaluation.calibration import calibration_error, read_bin_sums
from pipeline.reporting.tables import calibration
from pipeline.runtime.errors import PipelineError

OPTIONS = ("--datasets", ["busi", "bkai"], "--variants", ["zero_shot", "telescopic"])


def test_cells(study, render):
    frame, text = render(calibration, study, "--dsc", study / "dsc.csv", *OPTIONS)
    table = frame.set_index(["metric", "variant"])
    assert table.loc[("ece", "telescopic"), "busi"] == pytest.approx(10)
    folder = study / "runs/busi/telescopic"
    pooled = [100 * calibration_error(read_bin_sums(folder / f"seed{seed}")) for seed in (41, 42)]
    assert table.loc[("pooled_ece", "telescopic"), "busi"] == pytest.approx(sum(pooled) / 2, abs=1e-5)
    assert table.loc[("threshold", "zero_shot"), ["bkai", "bkai_sd", "bkai_seeds"]].tolist() == [0.4, 0, 2]
    # No threshold is the best one.
    assert "| Telescopic, ours | Threshold | 0.40 ± 0.00 | 0.40 ± 0.00 |" in text and "Made from 8 runs" in text


def test_a_run_without_bins_is_named(damaged, render):
    (damaged / "runs/busi/zero_shot/seed41/calibration.csv").unlink()
    with pytest.raises(PipelineError, match=r"busi/zero_shot/seed41/calibration\.csv: no such file"):
        render(calibration, damaged, "--dsc", damaged / "dsc.csv", *OPTIONS)
