"""speed.csv: what is measured of which variants, on the CPU."""

import json

import pandas as pd
import pytest
from model_support import tiny

from pipeline.cost import speed
from pipeline.models.backbone import tiny_config
from pipeline.models.frozen import prepare_frozen
from pipeline.models.variants import build_segmenter
from pipeline.runtime.errors import PipelineError


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(speed, "SECONDS", 0.001)
    monkeypatch.setattr(speed, "BATCHES", (1, 2))


def test_the_command_line(tmp_path, monkeypatch):
    variants = json.dumps({"telescopic": {"kind": "telescopic"}, "lora": {"kind": "lora"}})
    options = ["--variants", variants, "--backbone", "tiny", "--image-size", "64", "--threads", "1"]
    monkeypatch.setattr("sys.argv", ["speed", *options, "--output", f"{tmp_path}/speed.csv"])
    speed.main()
    table = pd.read_csv(tmp_path / "speed.csv")
    # Telescopic adapters lie between a layer's parts and cannot be merged.
    assert table[["variant", "merged", "batch_size"]].values.tolist() == [
        [*row, batch] for row in (["telescopic", False], ["lora", False], ["lora", True]) for batch in (1, 2)
    ]
    images = table["images_per_second"] * table["latency_ms"] / 1000
    assert images.tolist() == pytest.approx(table["batch_size"].tolist())
    assert set(table["precision"]) == {"fp32"} and table["device"].nunique() == 1
    assert table["peak_mib"].isna().all()


def test_a_larger_batch_takes_longer():
    segmenter = build_segmenter("decoder_only", tiny()).eval()
    prepare_frozen(segmenter, "fp32")
    one, many = (speed.measure(segmenter, 64, batch)["latency_ms"] for batch in (1, 64))
    assert many > 2 * one


def test_a_variant_that_cannot_be_measured_is_left_out(capsys):
    broken = {"kind": "telescopic", "schedule": [8, 8]}
    measure = speed.measure_variants
    table = measure({"broken": broken, "zero_shot": {"kind": "zero_shot"}}, tiny_config(), 64, "fp32", "cpu")
    assert set(table["variant"]) == {"zero_shot"}
    assert "left out variants.broken" in capsys.readouterr().err
    with pytest.raises(PipelineError, match="no variant can be measured: broken"):
        measure({"broken": broken}, tiny_config(), 64, "fp32", "cpu")
