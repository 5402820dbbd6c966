"""Cost: released figures, closed formulas, and why the two counters differ."""

import json

import pandas as pd
import pytest
from model_support import tiny

from pipeline.cost import count
from pipeline.cost.count import RELEASED, backbone_config, count_costs
from pipeline.demo.tiny import tiny_config
from pipeline.models.backbone import full_size_config
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
    "vision_gmacs",
    "text_gmacs",
    "conditional_gmacs",
    "decoder_gmacs",
    "adapters_gmacs",
    "updated_parameters",
    "updated_vision",
    "updated_text",
    "updated_conditional",
    "updated_decoder",
    "updated_refinement",
    "stored_bytes",
]
VARIANTS = {
    "zero_shot": {"kind": "zero_shot"},
    "decoder_only": {"kind": "decoder_only"},
    "end_to_end": {"kind": "end_to_end"},
    "telescopic": {"kind": "telescopic"},
    "uniform": {"kind": "telescopic", "schedule": "uniform"},
    "vlsm_shallow": {"kind": "vlsm_shallow"},
    "lora": {"kind": "lora"},
}


def encoder_macs(tokens: int, width: int, inner: int, layers: int) -> int:
    """Multiply-adds of transformer layers: four projections, scores and their sum, and the MLP; no normalisation."""
    return layers * (4 * tokens * width**2 + 2 * tokens**2 * width + 2 * tokens * width * inner)


@pytest.fixture(scope="module")
def full():
    """Table and detail at full size: 352 x 352 pixels, 77 tokens. No weights are needed."""
    table, detail = count_costs(VARIANTS, full_size_config(), 352)
    return table.set_index("variant"), detail


def total(detail: pd.DataFrame, variant: str, measure: str, **parts: str) -> int:
    """Sum of the rows of one measure."""
    chosen = detail[(detail["variant"] == variant) & (detail["measure"] == measure)]
    for column, value in parts.items():
        chosen = chosen[chosen[column] == value]
    return int(chosen["count"].sum())


# ------------------------------------------------------------------ CLIPSeg as it stands


def test_released_clipseg_is_41_86_gmac(full):
    """The figure that fvcore gives for transformers' CLIPSeg at 77 tokens with eager attention."""
    table, detail = full
    assert round(total(detail, RELEASED, "inference_macs") / 1e9, 2) == 41.86
    assert round(table.loc["zero_shot", "inference_gmacs"], 2) == 41.86


def test_macs_equal_the_closed_formula(full):
    _, detail = full
    patches, tokens = 22 * 22, 22 * 22 + 1

    def macs(part: str) -> int:
        counted = detail[
            (detail["variant"] == "zero_shot") & (detail["measure"] == "inference_macs") & (detail["part"] == part)
        ]
        return int(counted.loc[counted["operation"] != "norm", "count"].sum())

    assert macs("vision") == patches * 768 * 768 + encoder_macs(tokens, 768, 3072, layers=10)
    assert macs("text") == encoder_macs(77, 512, 2048, layers=12)
    assert macs("conditional") == 512 * 512
    # Three reductions, FiLM, three decoder layers, and the convolutions: 3x3 on 22 x 22, then two of stride 4 that
    # give each input pixel 4 x 4 outputs.
    decoder = 3 * tokens * 768 * 64 + 2 * 512 * 64 + encoder_macs(tokens, 64, 2048, layers=3)
    convolutions = patches * 64 * 64 * 9 + patches * 16 * 64 * 32 + 88 * 88 * 16 * 32
    assert macs("decoder") == decoder + convolutions


def test_the_counters_differ_by_unread_layers_and_normalisation_alone(full):
    """Twice fvcore's MACs, minus its normalisations, plus vision layers 11 and 12, is FlopCounterMode's count."""
    _, detail = full
    tokens = 22 * 22 + 1
    # What no mask depends on, yet is executed: two vision layers and the projection of the pooled image.
    unread = 2 * (encoder_macs(tokens, 768, 3072, layers=2) + 768 * 512)
    assert total(detail, RELEASED, "inference_flops", part="unread") == unread
    assert total(detail, RELEASED, "inference_macs", part="unread") == 0
    norms = 2 * total(detail, RELEASED, "inference_macs", operation="norm")
    difference = 2 * total(detail, RELEASED, "inference_macs") - total(detail, RELEASED, "inference_flops")
    assert difference == norms - unread
    assert difference == total(detail, RELEASED, "twice_macs_minus_flops")


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_counters_differ_by_normalisation_alone_in_every_variant(full, variant):
    table, detail = full
    reasons = detail[(detail["variant"] == variant) & (detail["measure"] == "twice_macs_minus_flops")]
    assert set(reasons["operation"]) == {"norm"}
    row = table.loc[variant]
    assert row["inference_gflops"] == pytest.approx(2 * (row["inference_gmacs"] - row["norm_gmacs"]), rel=1e-12)


# ------------------------------------------------------------------ variants


def test_adapters_cost_what_their_formula_says(full):
    table, detail = full
    tokens = 22 * 22 + 1
    vision = 2 * tokens * 2 * 768 * sum([8, 8, 10, 14, 17, 21, 24, 28, 32])
    text = 2 * 3 * 77 * 2 * 512 * 16
    refinement = 352 * 352 * 4 * (9 + 1)
    expected = vision + text + 2 * 512 * 16 + refinement
    macs = total(detail, "telescopic", "inference_macs", part="adapters")
    norms = total(detail, "telescopic", "inference_macs", part="adapters", operation="norm")
    assert macs - norms == expected
    # The same budget spread evenly costs the same; nothing else of the forward changes.
    same = ["inference_gmacs", "inference_gflops", "trainable_parameters", "total_parameters", "stored_bytes"]
    assert table.loc["uniform", same].tolist() == table.loc["telescopic", same].tolist()
    assert table.loc["telescopic", "vision_gmacs"] == table.loc["zero_shot", "vision_gmacs"]


def test_lora_costs_what_its_rank_says(full):
    _, detail = full
    tokens = 22 * 22 + 1
    expected = 4 * 2 * 9 * (9 * tokens * 768 + 3 * 77 * 512)
    assert total(detail, "lora", "inference_macs", part="adapters") == expected


def test_training_costs_forward_and_the_backward_that_is_needed(full):
    table, detail = full
    assert pd.isna(table.loc["zero_shot", "training_gflops"])
    for name in VARIANTS:
        if name == "zero_shot":
            continue
        row = table.loc[name]
        ratio = row["training_gflops"] / row["inference_gflops"]
        if name == "end_to_end":
            # Input and weight gradients of all but the first layer, whose input is the image.
            first = 2 * 22 * 22 * 768 * 768
            assert row["training_gflops"] * 1e9 == pytest.approx(3 * row["inference_gflops"] * 1e9 - first, rel=1e-9)
        elif name in ("decoder_only", "vlsm_shallow"):
            assert 1 < ratio < 1.1
        else:
            # Gradients pass through nearly all of the vision branch, but its weights need none.
            assert 1.9 < ratio < 2.1
    for part in ("vision", "text", "conditional"):
        forward = total(detail, "decoder_only", "inference_flops", part=part)
        assert total(detail, "decoder_only", "training_flops", part=part) == forward
    assert total(detail, "decoder_only", "training_flops", part="decoder") > 2 * total(
        detail, "decoder_only", "inference_flops", part="decoder"
    )


def test_the_frozen_text_prefix_is_not_paid_in_each_step(full):
    table, _ = full
    saved = (table["training_gflops"] - table["training_cached_gflops"]) * 1e9
    nine_layers, all_layers = (2 * encoder_macs(77, 512, 2048, layers) for layers in (9, 12))
    assert saved["telescopic"] == pytest.approx(nine_layers, rel=1e-9)
    assert saved["lora"] == pytest.approx(nine_layers, rel=1e-9)
    assert saved["decoder_only"] == pytest.approx(all_layers, rel=1e-9)
    assert saved["end_to_end"] == pytest.approx(0, abs=1)


def test_parameters_and_storage(full):
    table, _ = full
    assert table.loc["telescopic", "trainable_parameters"] == 613_297
    assert table.loc["telescopic", "trainable_percent"] == pytest.approx(100 * 613_297 / (150_747_746 + 613_297))
    # float32, and the statistics of the refinement's batch norm: 4 means, 4 variances, one 64-bit count.
    assert table.loc["telescopic", "stored_bytes"] == 4 * (613_297 + 8) + 8
    assert table.loc["lora", "stored_bytes"] == 4 * 608_256
    assert table.loc["zero_shot", "stored_bytes"] == 0
    assert table.loc["end_to_end", "trainable_parameters"] == 150_747_746
    assert table.loc["end_to_end", "updated_parameters"] == 136_177_249
    assert table.loc["end_to_end", "stored_bytes"] == 4 * 136_177_249


def test_columns(full):
    table, detail = full
    assert ["variant", *table.columns] == COLUMNS
    assert list(detail.columns) == ["variant", "measure", "part", "operation", "count"]
    parts = ["vision_gmacs", "text_gmacs", "conditional_gmacs", "decoder_gmacs", "adapters_gmacs"]
    for _, row in table.iterrows():
        assert row[parts].sum() == pytest.approx(row["inference_gmacs"], rel=1e-12)


# ------------------------------------------------------------------ without a workflow


def test_the_command_line_writes_the_same_bytes_each_time(tmp_path, monkeypatch):
    files = []
    for name in ("a", "b"):
        outputs = tmp_path / name / "cost.csv", tmp_path / name / "detail.csv"
        arguments = [
            "--variants", json.dumps({"telescopic": {"kind": "telescopic"}}),
            "--backbone-settings", '{"source": "phantom"}',
            "--image-size", "96",
            "--output", str(outputs[0]),
            "--detail", str(outputs[1]),
        ]  # fmt: skip
        monkeypatch.setattr("sys.argv", ["count", *arguments])
        count.main()
        files.append([path.read_bytes() for path in outputs])
    assert files[0] == files[1]
    table = pd.read_csv(tmp_path / "a/cost.csv")
    assert table["total_parameters"].item() == sum(value.numel() for value in tiny().parameters()) + 98_225


def test_which_backbone_is_counted(tmp_path):
    assert backbone_config({"source": "phantom"}).to_dict() == tiny_config().to_dict()
    assert backbone_config({}).vision_config.hidden_size == 768
    tiny_config().save_pretrained(tmp_path)
    assert backbone_config({"source": "folder", "folder": str(tmp_path)}).vision_config.hidden_size == 128
    # Not there yet: the real one's size is what a study is about.
    assert backbone_config({"source": "folder", "folder": str(tmp_path / "no")}).vision_config.hidden_size == 768


def test_invalid_settings_are_named():
    with pytest.raises(PipelineError, match=r"variants\.broken: "):
        count_costs({"broken": {"kind": "telescopic", "schedule": [8, 8]}}, tiny_config(), 96)
