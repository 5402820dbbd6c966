"""The tokenizer against CLIP's own byte-pair encoding, with the vocabulary that open_clip_torch distributes."""

import functools
import gzip
import hashlib
import html
import importlib.metadata
import itertools
import json
from pathlib import Path

import pytest
import regex
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
CLIP_WORDS = regex.compile(
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+", regex.IGNORECASE
)


def byte_symbols() -> dict[int, str]:
    """CLIP's printable symbol for each byte, in the order of the vocabulary: printable bytes first."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {byte: chr(256 + index) for index, byte in enumerate(others)}


class ClipEncoding:
    """CLIP's published algorithm: of all adjacent pairs, merge the one of lowest rank until none is known."""

    def __init__(self, merges: list[str]):
        self.symbols = byte_symbols()
        single = list(self.symbols.values())
        pairs = [tuple(line.split()) for line in merges]
        self.ranks = {pair: rank for rank, pair in enumerate(pairs)}
        tokens = [*single, *(symbol + "</w>" for symbol in single), *("".join(pair) for pair in pairs), START, END]
        self.ids = {token: index for index, token in enumerate(tokens)}
        self.word = functools.cache(self._word)

    def _word(self, word: str) -> list[int]:
        parts = [self.symbols[byte] for byte in word.encode()]
        parts[-1] += "</w>"
        while known := [pair for pair in itertools.pairwise(parts) if pair in self.ranks]:
            best = min(known, key=self.ranks.__getitem__)
            merged, index = [], 0
            while index < len(parts):
                both = tuple(parts[index : index + 2]) == best
                merged.append("".join(best) if both else parts[index])
                index += 1 + both
            parts = merged
        return [self.ids[part] for part in parts]

    def __call__(self, text: str, context: int = 77) -> list[int]:
        """Ids of the tokens up to and with the end, at most ``context``."""
        text = " ".join(html.unescape(html.unescape(text)).split()).lower()
        inner = [token for word in CLIP_WORDS.findall(text) for token in self.word(word)]
        return [self.ids[START], *inner[: context - 2], self.ids[END]]


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """CLIP's encoding, and this project's tokenizer from files like those of the backbone."""
    try:
        distribution = importlib.metadata.distribution("open_clip_torch")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("the distribution open_clip_torch is not installed: pip install --no-deps open_clip_torch")
    (path,) = (file for file in distribution.files if file.name == "bpe_simple_vocab_16e6.txt.gz")
    merges = gzip.decompress(path.locate().read_bytes()).decode().split("\n")[1:48_895]
    encoding = ClipEncoding(merges)
    folder = tmp_path_factory.mktemp("tokenizer")
    content = "\n".join(["#version: 0.2", *merges]) + "\n"
    assert hashlib.sha256(content.encode()).hexdigest() == MERGES_SHA256
    (folder / "merges.txt").write_text(content, encoding="utf-8")
    (folder / "vocab.json").write_text(json.dumps(encoding.ids), encoding="utf-8")
    return encoding, load_tokenizer(folder)


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


def assert_same_ids(encoding: ClipEncoding, tokenizer, prompts: list[str]) -> None:
    ids, mask = tokenise(tokenizer, prompts)
    assert ids.shape == mask.shape == (len(prompts), 77)
    for prompt, row, kept in zip(prompts, ids.tolist(), mask.tolist(), strict=True):
        expected = encoding(prompt)
        assert row[: len(expected)] == expected, prompt
        # CLIP pads with zeros, the protocol's tokenizer with the end's token. Both read the text at the first end.
        assert set(row[len(expected) :]) <= {encoding.ids[END]}, prompt
        assert kept == [1] * len(expected) + [0] * (77 - len(expected)), prompt


def test_all_prompts_of_the_annotation_sets_have_clips_ids(clip):
    prompts = annotated_prompts()
    assert len(prompts) > 1_000 and "" in prompts
    assert_same_ids(*clip, prompts)


def test_known_ids(clip):
    """Ids that CLIP's documentation and every copy of its vocabulary agree on."""
    encoding, tokenizer = clip
    assert len(encoding.ids) == 49_408
    ids, _ = tokenise(tokenizer, ["a photo of a cat", "", "one small pink polyp"])
    assert ids[0, :7].tolist() == [49406, 320, 1125, 539, 320, 2368, 49407]
    assert ids[1, :3].tolist() == [49406, 49407, 49407]
    assert ids.argmax(dim=-1).tolist()[:2] == [6, 1]


@pytest.mark.parametrize(
    "prompt",
    [
        "Two POLYPS, one's flat;  the other isn't.",
        "  12 mm lesion \n at the top-left (≈ 3/4 of the image) ",
        "naïve résumé café",
        "très petit polype – 2×3 mm…",
        "polyp " * 100,
        "a" * 300,
    ],
)
def test_awkward_prompts_have_clips_ids(clip, prompt):
    assert_same_ids(*clip, [prompt])


def test_the_tiny_tokenizer_is_one_too(tmp_path):
    """Same algorithm on the demo's vocabulary: the files have CLIP's format, with ids in CLIP's order."""
    write_tokenizer(tmp_path)
    lines = (tmp_path / "merges.txt").read_text(encoding="utf-8").splitlines()[1:]
    encoding = ClipEncoding(lines)
    vocabulary = json.loads((tmp_path / "vocab.json").read_text(encoding="utf-8"))
    assert len(vocabulary) == tiny_config().text_config.vocab_size == 256 * 2 + len(lines) + 2
    # Bytes stand in another order there, so compare tokens.
    names = {index: token for token, index in vocabulary.items()}
    expected_names = {index: token for token, index in encoding.ids.items()}
    tokenizer = load_tokenizer(tmp_path)
    prompts = ["One small PINK polyp", "", "Zwölf µm, 3/4!", "a benign tumour's dark edge"]
    ids, mask = tokenise(tokenizer, prompts)
    for prompt, row, kept in zip(prompts, ids.tolist(), mask.tolist(), strict=True):
        tokens = [names[index] for index in row[: sum(kept)]]
        assert tokens == [expected_names[index] for index in encoding(prompt)]
    assert ids.max() == vocabulary[END] == len(vocabulary) - 1


def test_crop_keeps_every_prompts_end():
    ids = inputs(tiny_config(), batch=3)["input_ids"]
    cropped = crop_to_longest(ids)
    assert cropped.shape == (3, 3 + 4 * 2 + 1)
    assert torch.equal(cropped.argmax(-1), ids.argmax(-1))


def test_a_folder_without_a_tokenizer_is_named(tmp_path):
    (tmp_path / "vocab.json").write_text("{}")
    with pytest.raises(PipelineError, match=r"no merges\.txt for the tokenizer; fetch the backbone again"):
        load_tokenizer(tmp_path)
