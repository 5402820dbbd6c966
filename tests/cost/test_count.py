"""cost.csv: its columns, its rows and its command line."""

import json

import pandas as pd
import pytest
from model_support import tiny

from pipeline.cost import count
from pipeline.cost.count import backbone_config, count_costs
from pipeline.models.backbone import full_size_config, tiny_config
from pipeline.runtime.errors import PipelineError

COUNTED = ["trainable_parameters", "total_parameters", "inference_gmacs", "inference_gflops", "training_gflops"]


def test_a_row_at_full_size():
    """352 x 352 pixels, 77 tokens. No weights are needed."""
    table = count_costs({kind: {"kind": kind} for kind in ("zero_shot", "end_to_end")}, full_size_config(), 352)
    assert list(table.columns) == ["variant", *COUNTED[:2], "trainable_percent", *COUNTED[2:]]
    zero_shot, end_to_end = (row for _, row in table.set_index("variant").iterrows())
    assert (zero_shot["trainable_parameters"], zero_shot["total_parameters"]) == (0, 150_747_746)
    assert round(zero_shot["inference_gmacs"], 2) == 41.86
    assert zero_shot["inference_gflops"] == pytest.approx(2 * zero_shot["inference_gmacs"], rel=0.01)
    assert pd.isna(zero_shot["training_gflops"])
    # As the papers count: the whole model, whether or not a gradient reaches it.
    assert (end_to_end["trainable_parameters"], end_to_end["trainable_percent"]) == (150_747_746, 100)
    assert end_to_end["training_gflops"] == pytest.approx(3 * end_to_end["inference_gflops"], rel=0.01)


def test_the_command_line_counts_equal_settings_alike(tmp_path, monkeypatch):
    variants = json.dumps({"telescopic": {"kind": "telescopic"}, "half_the_data": {"kind": "telescopic"}})
    options = ["--variants", variants, "--backbone", "tiny", "--image-size", "96", "--output", f"{tmp_path}/cost.csv"]
    monkeypatch.setattr("sys.argv", ["count", *options])
    count.main()
    one, other = (row for _, row in pd.read_csv(tmp_path / "cost.csv").set_index("variant").iterrows())
    assert one.equals(other)
    assert one["total_parameters"] == sum(value.numel() for value in tiny().parameters()) + 98_225
    assert one["trainable_percent"] == pytest.approx(100 * 98_225 / one["total_parameters"])


def test_which_backbone_is_counted(tmp_path):
    assert backbone_config("tiny").to_dict() == tiny_config().to_dict()
    assert backbone_config("full").vision_config.hidden_size == 768
    config = tiny_config()
    config.reduce_dim = 16
    config.save_pretrained(tmp_path)
    assert backbone_config(str(tmp_path)).reduce_dim == 16
    with pytest.raises(PipelineError, match=r"huge/config\.json: cannot be read"):
        backbone_config("huge")


def test_the_cost_of_each_variant_stands_alone(capsys):
    variants = {
        "broken": {"kind": "telescopic", "schedule": [8, 8]},
        "too_wide": {"kind": "telescopic", "text_width": 99},
    }
    table = count_costs(variants | {"zero_shot": {"kind": "zero_shot"}}, tiny_config(), 64)
    assert list(table["variant"]) == ["zero_shot"]
    log = capsys.readouterr().err
    assert "left out variants.broken: " in log and "left out variants.too_wide: width 99 in text_12_mlp" in log
    with pytest.raises(PipelineError, match=r"no variant can be counted: variants\.broken: "):
        count_costs(variants, tiny_config(), 64)
