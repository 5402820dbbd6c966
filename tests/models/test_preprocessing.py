"""The tokenizer against CLIP's own, which open_clip_torch distributes with its vocabulary."""

import gzip
import hashlib
import importlib.metadata
import importlib.util
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from model_support import inputs

from pipeline.demo.tiny import write_tokenizer
from pipeline.models.backbone import tiny_config
from pipeline.models.preprocessing import crop_to_longest, load_tokenizer, tokenise
from pipeline.runtime.errors import PipelineError

ANNOTATIONS = Path(__file__).parents[2] / "../shared/data/annotations"
# Of merges.txt at the backbone's pinned revision.
MERGES_SHA256 = "9fd691f7c8039210e0fced15865466c65820d09b63988b0174bfe25de299051a"
START, END = "<|startoftext|>", "<|endoftext|>"


@pytest.fixture(scope="module")
def open_clip():
    """The module with CLIP's published tokenizer, loaded by itself: the package would need torchvision."""
    try:
        distribution = importlib.metadata.distribution("open_clip_torch")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("the distribution open_clip_torch is not installed: pip install --no-deps open_clip_torch")
    spec = importlib.util.spec_from_file_location("clip_tokenizer", distribution.locate_file("open_clip/tokenizer.py"))
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TOKENIZERS_PARALLELISM", "false")  # which the module sets
        # It repairs texts that were decoded wrongly, which prompts are not.
        patch.setitem(sys.modules, "ftfy", SimpleNamespace(fix_text=str))
        spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def clip(open_clip, tmp_path_factory):
    """CLIP's tokenizer, and this project's from files like those of the backbone."""
    merges = gzip.decompress(Path(open_clip.default_bpe()).read_bytes()).decode().split("\n")[1:48_895]
    folder = tmp_path_factory.mktemp("tokenizer")
    content = "\n".join(["#version: 0.2", *merges]) + "\n"
    assert hashlib.sha256(content.encode()).hexdigest() == MERGES_SHA256
    (folder / "merges.txt").write_text(content, encoding="utf-8")
    oracle = open_clip.SimpleTokenizer()
    names = [*list(oracle.encoder)[:-2], START, END]
    (folder / "vocab.json").write_text(json.dumps({name: index for index, name in enumerate(names)}), encoding="utf-8")
    return oracle, load_tokenizer(folder)


def annotated_prompts() -> list[str]:
    """All distinct prompts of the five annotation sets."""
    files = sorted(ANNOTATIONS.glob("*/*.json"))
    if not files:
        pytest.skip(f"no annotation files in {ANNOTATIONS}")
    found = set()
    for file in files:
        for entry in json.loads(file.read_text()):
            for value in entry["prompts"].values():
                found.update(value if isinstance(value, list) else [value])
    return sorted(found)


def assert_same_ids(oracle, tokenizer, prompts: list[str]) -> None:
    ids, mask = tokenise(tokenizer, prompts)
    expected = oracle(prompts)
    assert ids.shape == mask.shape == expected.shape == (len(prompts), 77)
    # CLIP pads with zeros, the protocol's tokenizer with the end's token. Both read the text at the first end.
    padding = torch.arange(77) > expected.argmax(dim=1)[:, None]
    assert torch.equal(ids, expected.masked_fill(padding, oracle.eot_token_id))
    assert torch.equal(mask, (~padding).long())


def test_all_prompts_of_the_annotation_sets_have_clips_ids(clip):
    prompts = annotated_prompts()
    assert len(prompts) > 1_000 and "" in prompts
    assert_same_ids(*clip, prompts)


def test_awkward_prompts_have_clips_ids(clip):
    prompts = [
        "Two POLYPS, one's flat;  the other isn't.",
        "  12 mm lesion \n at the top-left (≈ 3/4 of the image) ",
        "naïve résumé café",
        "très petit polype – 2×3 mm…",
        "polyp " * 100,
        "a" * 300,
    ]
    assert_same_ids(*clip, prompts)


def test_known_ids(clip):
    """Ids that CLIP's documentation and every copy of its vocabulary agree on."""
    ids, _ = tokenise(clip[1], ["a photo of a cat", "", "one small pink polyp"])
    assert ids[0, :7].tolist() == [49406, 320, 1125, 539, 320, 2368, 49407]
    assert ids[1, :3].tolist() == [49406, 49407, 49407]
    assert ids.argmax(dim=-1).tolist()[:2] == [6, 1]


def test_the_tiny_tokenizer_is_one_too(open_clip, tmp_path):
    """Same algorithm on the demo's vocabulary: the files have CLIP's format, with ids in CLIP's order."""
    write_tokenizer(tmp_path)
    merges = (tmp_path / "merges.txt").read_bytes().strip()
    (tmp_path / "merges.gz").write_bytes(gzip.compress(merges))
    oracle = open_clip.SimpleTokenizer(tmp_path / "merges.gz")
    vocabulary = json.loads((tmp_path / "vocab.json").read_text(encoding="utf-8"))
    assert len(vocabulary) == tiny_config().text_config.vocab_size == oracle.vocab_size
    # Bytes stand in another order there, so compare tokens.
    names, expected_names = list(vocabulary), [*list(oracle.encoder)[:-2], START, END]
    prompts = ["One small PINK polyp", "", "Zwölf µm, 3/4!", "a benign tumour's dark edge"]
    ids, mask = tokenise(load_tokenizer(tmp_path), prompts)
    for row, kept, expected in zip(ids.tolist(), mask.sum(dim=1).tolist(), oracle(prompts).tolist(), strict=True):
        assert [names[index] for index in row[:kept]] == [expected_names[index] for index in expected[:kept]]
        assert set(row[kept:]) == {len(vocabulary) - 1} and not any(expected[kept:])


def test_crop_keeps_every_prompts_end():
    ids = inputs(tiny_config(), batch=3)["input_ids"]
    cropped = crop_to_longest(ids)
    assert cropped.shape == (3, 3 + 4 * 2 + 1)
    assert torch.equal(cropped.argmax(-1), ids.argmax(-1))


def test_a_folder_without_a_tokenizer_is_named(tmp_path):
    (tmp_path / "vocab.json").write_text("{}")
    with pytest.raises(PipelineError, match=r"no merges\.txt for the tokenizer; fetch the backbone again"):
        load_tokenizer(tmp_path)
