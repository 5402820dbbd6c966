"""The tokenizer of the tiny CLIPSeg (:func:`pipeline.models.backbone.tiny_config`), for the demo and the tests."""

import functools
import itertools
import json
from collections import Counter
from pathlib import Path

from tokenizers.pre_tokenizers import ByteLevel

from pipeline.runtime.atomic import write_json, write_text

CONTEXT = 77
BOS, EOS = "<|startoftext|>", "<|endoftext|>"
END_OF_WORD = "</w>"

# Words that become one token each: those of the phantoms' and shapes' prompts, and frequent ones of clinical prompts.
# All else is spelt out in bytes.
WORDS = """
a an and any are area at back background beside big black blob blue border bottom breast bright brown bump bumpy by
center central centre circle circular colon colour coloured corner cyan dark dim edge ellipse field five fold four from
green grey growth has heart image in inner is it kidney large left lesion lies light like lining located lower lump
magenta mark mass medium membrane middle mole mucosa near neat no nodule none not object octagon of on one or orange
outer outline oval ovoid pale patch peach pink plain polyp polyps purple raised rectangle rectangular rectum red
right rough round rounded scan seen semicircle shadow shape shaped side single skin small smooth soft sore spot square
stalk tan texture that the there this three tiny tissue to top triangle triangular tumor tumors tumour tumours two
uneven upper violet wall which white wide with without wound yellow
abnormal benign bleeding cancer endoscopy flesh irregular malignant melanoma mushroom normal often pigmented
projecting regular resemble screen speckles stalks star diamond tissues ultrasound
"""


@functools.cache
def _merges() -> tuple[tuple[str, str], ...]:
    """Byte-pair merges under which each of WORDS is one token: the most frequent pair first, ties by alphabet."""
    words = [[*word[:-1], word[-1] + END_OF_WORD] for word in WORDS.split()]
    merges = []
    while counts := Counter(pair for word in words for pair in itertools.pairwise(word)):
        pair = min(counts, key=lambda pair: (-counts[pair], pair))
        merges.append(pair)
        for word in words:
            # From the right, so that a merge does not shift the positions still to be looked at.
            for index in range(len(word) - 2, -1, -1):
                if tuple(word[index : index + 2]) == pair:
                    word[index : index + 2] = ["".join(pair)]
    return tuple(merges)


@functools.cache
def _vocabulary() -> dict[str, int]:
    """Token ids in CLIP's order: bytes, bytes at the end of a word, merges, start and end of text."""
    symbols = sorted(ByteLevel.alphabet())
    tokens = [*symbols, *(symbol + END_OF_WORD for symbol in symbols), *("".join(pair) for pair in _merges()), BOS, EOS]
    return {token: index for index, token in enumerate(tokens)}


def write_tokenizer(folder: str | Path) -> None:
    """Write the tiny tokenizer's files, in the format that ``CLIPTokenizer.from_pretrained`` reads, into ``folder``.

    Any text can be tokenised. As in CLIP, the end-of-text token has the largest id and pads.
    """
    folder = Path(folder)
    special = {"bos_token": BOS, "eos_token": EOS, "unk_token": EOS, "pad_token": EOS}
    # The ids' order is the order of a vocabulary file, so its keys stay unsorted.
    write_text(folder / "vocab.json", json.dumps(_vocabulary(), ensure_ascii=False) + "\n")
    write_text(folder / "merges.txt", "\n".join(["#version: 0.2", *map(" ".join, _merges())]) + "\n")
    write_json(folder / "special_tokens_map.json", special)
    write_json(
        folder / "tokenizer_config.json",
        {**special, "tokenizer_class": "CLIPTokenizer", "model_max_length": CONTEXT, "do_lower_case": True},
    )
