"""cost.csv: its columns, its rows and its command line."""

import json

import pandas as pd
import pytest
from model_support import tiny

from pipeline.cost import count
from pipeline.cost.count import backbone_config, count_costs
from pipeline.models.backbone import full_size_config, tiny_config
from pipeline.runtime.errors import PipelineError

COLUMNS = [
    "variant",
    "trainable_parameters",
    "total_parameters",
    "trainable_percent",
    "inference_gmacs",
    "inference_gflops",
    "training_gflops",
    "training_cached_gflops",
    "norm_gmacs",
    "updated_parameters",
    "stored_bytes",
]


@pytest.fixture(scope="module")
def full():
    """At full size: 352 x 352 pixels, 77 tokens. No weights are needed."""
    variants = {kind: {"kind": kind} for kind in ("zero_shot", "end_to_end", "telescopic", "lora")}
    table = count_costs(variants, full_size_config(), 352)
    assert list(table.columns) == COLUMNS
    return table.set_index("variant")


def test_parameters_and_storage(full):
    telescopic, end_to_end = full.loc["telescopic"], full.loc["end_to_end"]
    assert telescopic["trainable_parameters"] == telescopic["updated_parameters"] == 613_297
    assert telescopic["total_parameters"] == 150_747_746 + 613_297
    assert telescopic["trainable_percent"] == pytest.approx(100 * 613_297 / (150_747_746 + 613_297))
    # float32, and the statistics of the refinement's batch norm: 4 means, 4 variances, one 64-bit count.
    assert telescopic["stored_bytes"] == 4 * (613_297 + 8) + 8
    assert full.loc["lora", "stored_bytes"] == 4 * 608_256
    assert full.loc["zero_shot", "stored_bytes"] == 0
    assert end_to_end["trainable_parameters"] == 150_747_746
    assert end_to_end["updated_parameters"] == 136_177_249
    assert end_to_end["stored_bytes"] == 4 * 136_177_249


def test_units_and_what_training_computes_once(full):
    assert round(full.loc["zero_shot", "inference_gmacs"], 2) == 41.86
    assert full["inference_gflops"].tolist() == pytest.approx(
        (2 * (full["inference_gmacs"] - full["norm_gmacs"])).tolist(), rel=1e-12
    )
    assert full.loc["zero_shot", ["training_gflops", "training_cached_gflops"]].isna().all()
    # Nine text layers of 77 tokens, width 512 and inner width 2048, at two FLOPs per multiply-add.
    saved = full.loc["telescopic", "training_gflops"] - full.loc["telescopic", "training_cached_gflops"]
    assert saved * 1e9 == pytest.approx(2 * 9 * (4 * 77 * 512**2 + 2 * 77**2 * 512 + 2 * 77 * 512 * 2048), rel=1e-9)


def test_the_command_line_writes_the_same_bytes_each_time(tmp_path, monkeypatch):
    contents = []
    for name in ("a.csv", "b.csv"):
        # Two variants that differ only in their name are counted once.
        variants = json.dumps({"telescopic": {"kind": "telescopic"}, "half_the_data": {"kind": "telescopic"}})
        options = ["--variants", variants, "--backbone", "tiny", "--image-size", "96", "--output", str(tmp_path / name)]
        monkeypatch.setattr("sys.argv", ["count", *options])
        count.main()
        contents.append((tmp_path / name).read_bytes())
    assert contents[0] == contents[1]
    table = pd.read_csv(tmp_path / "a.csv").set_index("variant")
    expected = sum(value.numel() for value in tiny().parameters()) + 98_225
    assert table["total_parameters"].to_dict() == {"telescopic": expected, "half_the_data": expected}


def test_which_backbone_is_counted(tmp_path):
    assert backbone_config("tiny").to_dict() == tiny_config().to_dict()
    assert backbone_config("full").vision_config.hidden_size == 768
    config = tiny_config()
    config.reduce_dim = 16
    config.save_pretrained(tmp_path)
    assert backbone_config(str(tmp_path)).reduce_dim == 16
    with pytest.raises(PipelineError, match=r"huge/config\.json: cannot be read"):
        backbone_config("huge")


def test_invalid_settings_are_named():
    with pytest.raises(PipelineError, match=r"variants\.broken: "):
        count_costs({"broken": {"kind": "telescopic", "schedule": [8, 8]}}, tiny_config(), 96)
