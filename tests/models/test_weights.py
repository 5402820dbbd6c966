"""A run's weights: written and read without losing a bit; files that are something else are named."""

import tempfile
from pathlib import Path

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from model_support import ADAPTED, tiny, trained_start

from pipeline.models.kinds import parse_variant
from pipeline.models.weights import load_weights, read_variant, save_weights


@settings(max_examples=25, deadline=None, derandomize=True)
@given(ADAPTED | st.sampled_from([{"kind": "zero_shot"}, {"kind": "decoder_only"}, {"kind": "end_to_end"}]))
def test_saving_and_loading_loses_no_bit(variant):
    record = parse_variant(variant).model_dump(mode="json")
    segmenter = trained_start(variant, tiny(), seed=5)
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / name for name in ("first.safetensors", "second.safetensors")]
        for path in paths:
            save_weights(path, segmenter, record, {"seed": "41", "data_sha256": "0", "backbone_sha256": "1"})
        assert paths[0].read_bytes() == paths[1].read_bytes()
        assert read_variant(paths[0]) == record
        # Another start: what is not in the file would differ.
        torch.manual_seed(99)
        loaded = load_weights(paths[0], tiny())
    expected, actual = segmenter.state_dict(), loaded.state_dict()
    assert expected.keys() == actual.keys()
    assert all(torch.equal(actual[name], value) for name, value in expected.items())
    assert set(loaded.trainable_parameters()) == set(segmenter.trainable_parameters())
    assert not loaded.training
