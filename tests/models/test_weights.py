"""A run's weights: written and read without losing a bit; files that are something else are named."""

import json
import os
import pickle
import tempfile
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from model_support import ADAPTED, Attack, tiny, trained_start

from pipeline.models.kinds import parse_variant
from pipeline.models.weights import load_weights, read_variant, save_weights
from pipeline.runtime.errors import PipelineError


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


def _header(text: bytes) -> bytes:
    """A safetensors file with this header and no data."""
    return len(text).to_bytes(8, "little") + text


def _metadata(variant: str) -> bytes:
    return _header(json.dumps({"__metadata__": {"variant": variant}}).encode())


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "cannot be read as a run's weights"),
        (pickle.dumps(Attack(os.mkdir, "executed")), "cannot be read as a run's weights"),
        ((2**63).to_bytes(8, "little") + b"{}", "cannot be read as a run's weights"),
        (_header(b"[" * 100_000), "cannot be read as a run's weights"),
        (_header(b'{"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,4]}}'), "cannot be read"),
        (_header(b"{}"), "holds no variant's settings"),
        (_metadata("[" * 100_000), "holds no variant's settings"),
        (_metadata("3"), "holds no variant's settings"),
        (_metadata('{"kind": "of another version"}'), "'of another version' is unknown"),
        (_metadata('{"kind": "vlsm_dense", "width": 1000000000000}'), "less than or equal to 8192"),
        (_metadata('{"kind": "telescopic"}'), "weights do not fit this variant"),
    ],
)
def test_hostile_and_foreign_files_are_named_and_execute_nothing(tmp_path, monkeypatch, content, reason):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "weights.safetensors"
    path.write_bytes(content)
    with pytest.raises(PipelineError) as error:
        load_weights(path, tiny())
    assert str(path) in str(error.value) and reason in str(error.value)
    assert [entry.name for entry in tmp_path.iterdir()] == ["weights.safetensors"]
