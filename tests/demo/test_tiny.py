"""The tiny backbone: a tokenizer that behaves as CLIP's, and a configuration with CLIPSeg's depth."""

import itertools
import json

import numpy as np
import pytest

from pipeline.demo.phantoms import DATASETS, draw_cases
from pipeline.demo.shapes import draw_shapes
from pipeline.demo.tiny import BOS, CONTEXT, EOS, WORDS, write_tokenizer
from pipeline.models.backbone import empty_backbone, full_size_config, tiny_config
from pipeline.models.preprocessing import load_tokenizer, tokenise
from pipeline.models.widths import telescopic_widths


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    write_tokenizer(folder)
    return folder


@pytest.fixture(scope="module")
def tokenizer(folder):
    return load_tokenizer(folder)


def phantom_prompts():
    """All strings of the prompts of a few phantoms of each dataset, and of shapes."""
    sizes = {"train": 6, "val": 1, "test": 1}
    found = set()
    for name in DATASETS:
        for _, _, record in draw_cases(name, np.random.default_rng(0), sizes):
            for value in record["prompts"].values():
                found.update(value if isinstance(value, list) else [value])
    return sorted(found | set(itertools.chain(*draw_shapes(np.random.default_rng(0), 40, 16, 3).prompts)))


def test_every_word_of_the_list_is_one_token(tokenizer):
    words = WORDS.split()
    assert len(words) == len(set(words)) > 150
    ids = [tokenizer(word)["input_ids"][1:-1] for word in words]
    assert {len(tokens) for tokens in ids} == {1}
    assert len({tokens[0] for tokens in ids}) == len(words)


def test_prompts_come_back(tokenizer):
    prompts = phantom_prompts()
    assert len(prompts) > 100
    # Any text is spelt out in bytes.
    prompts += ["größe ü", "polyp ( z ) ~ #", "ångström → µ", "xqzw"]
    ids, _ = tokenise(tokenizer, prompts)
    for prompt, row in zip(prompts, ids, strict=True):
        # As CLIP's own, the tokenizer parts punctuation from words.
        assert tokenizer.decode(row, skip_special_tokens=True).replace(" ,", ",") == prompt


def test_the_end_of_text_has_the_largest_id_and_pads(tokenizer):
    vocabulary = tokenizer.get_vocab()
    assert vocabulary[EOS] == max(vocabulary.values()) == len(vocabulary) - 1
    assert vocabulary[BOS] == vocabulary[EOS] - 1
    assert sorted(vocabulary.values()) == list(range(len(vocabulary)))
    assert tokenizer.pad_token_id == tokenizer.eos_token_id == vocabulary[EOS]
    ids, mask = tokenise(tokenizer, ["", "pink polyp"])
    assert ids.shape == mask.shape == (2, CONTEXT) == (2, 77)
    assert ids[0].tolist() == [vocabulary[BOS]] + [vocabulary[EOS]] * 76
    assert ids[1, 3:].unique().tolist() == [vocabulary[EOS]]
    assert mask.sum(dim=1).tolist() == [2, 4]
    # The text feature is read at the first largest id: the end of the text.
    assert ids.argmax(dim=1).tolist() == [1, 3]


def test_a_long_text_is_cut_with_its_end_kept(tokenizer):
    (row,), (mask,) = tokenise(tokenizer, ["polyp " * 200])
    assert row.shape == (77,)
    assert row[-1] == tokenizer.eos_token_id
    assert (row[1:-1] == tokenizer.get_vocab()["polyp</w>"]).all()
    assert mask.all()


def test_the_configuration_means_what_the_real_one_means(folder):
    tiny, full = tiny_config(), full_size_config()
    assert list(tiny.extract_layers) == list(full.extract_layers) == [3, 6, 9]
    for part in ("text_config", "vision_config"):
        assert getattr(tiny, part).num_hidden_layers == getattr(full, part).num_hidden_layers == 12
    assert tiny.conditional_layer == full.conditional_layer == 0
    assert tiny.use_complex_transposed_convolution
    vocabulary = json.loads((folder / "vocab.json").read_text())
    assert tiny.text_config.vocab_size == len(vocabulary)
    assert tiny.text_config.eos_token_id == vocabulary[EOS]
    # Adapters clamp their width at a quarter of the input's: the telescopic ones stay as they are.
    assert tiny.vision_config.hidden_size // 4 >= max(telescopic_widths(9))
    assert tiny.text_config.hidden_size == tiny.projection_dim
    assert 1.5e6 < sum(tensor.numel() for tensor in empty_backbone(tiny).parameters()) < 2.5e6
