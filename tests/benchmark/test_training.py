"""The benchmark measures both ways of training, in processes of their own."""

import pandas as pd
import pytest

from pipeline.benchmark import training
from pipeline.benchmark.ceilings import data_sheet
from pipeline.runtime.errors import PipelineError


def run(monkeypatch, *options) -> None:
    small = ["--size", "tiny", "--cases", "4", "--batch-sizes", "2", "--threads", "1", "--no-warm-up"]
    monkeypatch.setattr("sys.argv", ["training", *small, *map(str, options)])
    training.main()


def test_both_ways_are_measured(tmp_path, monkeypatch, capsys):
    run(monkeypatch, "--variants", "telescopic", "decoder_only", "--output", tmp_path / "benchmark.csv")
    table = pd.read_csv(tmp_path / "benchmark.csv")
    assert table[["variant", "batch_size", "way"]].values.tolist() == [
        [variant, 2, way] for variant in ("telescopic", "decoder_only") for way in ("plain", "fast")
    ]
    # Two steps of two images make the epoch.
    assert table["step_ms"].tolist() == pytest.approx((2000 / table["images_per_second"]).tolist(), rel=1e-6)
    assert (table[["images_per_second", "cpu_ms", "peak_mib", "gflops_per_image"]] > 0).all(axis=None)
    # Both are shares of one ceiling.
    rates = table["images_per_second"] * table["gflops_per_image"] / table["mfu_percent"]
    assert rates.tolist() == pytest.approx([rates[0]] * 4, rel=1e-6)
    # What is kept is not computed in a step: unread layers and the text encoder's frozen ones; all of the encoders.
    flops = table["gflops_per_image"]
    assert 0.5 < flops[1] / flops[0] < 0.9
    assert flops[3] / flops[2] < 0.5
    assert set(table["precision"]) <= {"fp32", "fp16"}
    speed = table["images_per_second"]
    assert f"{speed[1] / speed[0]:.2f} times plain" in capsys.readouterr().err


def test_settings_are_measured_in_turns_with_plain(tmp_path, monkeypatch, capsys):
    turns, measure = [], training.Bench.measure

    def counted(bench, way, variant, batch_size, **settings):
        row = measure(bench, way, variant, batch_size, **settings)
        turns.append((way, settings, row["images_per_second"]))
        return row

    monkeypatch.setattr(training.Bench, "measure", counted)
    settings = ['{"precision": "fp32"}', '{"precision": "fp32", "accumulation": 2}']
    options = ["--variants", "decoder_only", "--repeats", "2", "--output", tmp_path / "benchmark.csv"]
    run(monkeypatch, *options, "--training", *settings)
    assert [turn[:2] for turn in turns[:3]] == [turn[:2] for turn in turns[3:]]
    assert [turn[1].get("accumulation") for turn in turns[:3]] == [None, None, 2]
    table = pd.read_csv(tmp_path / "benchmark.csv")
    assert table["training"].tolist() == [settings[0], *settings]
    medians = [(one[2] + other[2]) / 2 for one, other in zip(turns[:3], turns[3:], strict=True)]
    assert table["images_per_second"].tolist() == pytest.approx(medians)
    times = table["cpu_ms"][0] / table["cpu_ms"]
    assert all(f"({value:.2f} by CPU time)" in capsys.readouterr().err for value in times[2:]) and (times > 0).all()


def test_a_variant_that_trains_nothing_is_refused(monkeypatch):
    with pytest.raises(PipelineError, match="'zero_shot' is not a trained variant; allowed: decoder_only"):
        run(monkeypatch, "--variants", "zero_shot")


def test_peaks_by_data_sheet():
    assert data_sheet("NVIDIA A100-SXM4-80GB", "bf16") == (312e12, "NVIDIA A100 Tensor Core GPU data sheet")
    assert data_sheet("NVIDIA A100-SXM4-80GB", "fp32")[0] == 156e12
    # No TF32 before Ampere; part of a card has no data sheet of its own.
    assert data_sheet("Tesla T4", "fp32") is None
    assert data_sheet("NVIDIA H100 80GB HBM3 MIG 1g.10gb", "fp16") is None
