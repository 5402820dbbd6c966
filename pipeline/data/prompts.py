"""Which prompt a case gets: drawn anew each epoch in training, fixed for each case and seed in evaluation."""

import hashlib
import random
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from pipeline.runtime.errors import PipelineError

if TYPE_CHECKING:
    import pandas as pd

EVALUATION = -1
"""The epoch under which validation and test draw their prompt: one for each case and seed."""
_SIDES = {"left": "right", "right": "left"}
_ENDS = {"top": "bottom", "bottom": "top", "upper": "lower", "lower": "upper"}
_WORDS = "|".join([*_SIDES, *_ENDS, "center", "centre", "middle"])
# As in "located in top left of the image", "at the top left, center in the breast ultrasound image": after a
# preposition, so not in "with a bright top" or "right ear polyp", a shape of BKAI's lists.
_PLACE = re.compile(rf"\b(?:in|at|on)(?: the)?(?:,? (?:and )?(?:{_WORDS})\b)+", re.IGNORECASE)


def _strings(prompts: Mapping[str, str | list[str]], prompt_type: str, case: str) -> list[str]:
    if prompt_type not in prompts:
        raise PipelineError(
            f"case {case} has no prompt {prompt_type!r}; it has {', '.join(sorted(prompts))}, and random; "
            "change prompt_type, or leave this dataset out"
        )
    value = prompts[prompt_type]
    return value if isinstance(value, list) else [value]


def _types(prompts: Mapping[str, str | list[str]], prompt_type: str) -> list[str]:
    if prompt_type != "random":
        return [prompt_type]
    return sorted(name for name in prompts if name != "p0")


def draw_prompt(
    prompts: Mapping[str, str | list[str]], prompt_type: str, seed: int, case: str, epoch: int = EVALUATION
) -> str:
    """The prompt of ``case`` in ``epoch``; the same whatever was drawn before, by whichever worker.

    Args:
        prompts: p0.., each a string or strings to draw from.
        prompt_type: a key of ``prompts``, or "random": one of p1.. uniformly (the reference's protocol), then one of
            its strings.
        epoch: counted from 0 in training, or :data:`EVALUATION`.

    Raises:
        PipelineError: the case has no prompt of that type.
    """
    digest = hashlib.sha256(f"{seed}\0{case}\0{epoch}".encode()).digest()
    generator = random.Random(int.from_bytes(digest[:8], "big"))
    names = _types(prompts, prompt_type)
    if not names:
        raise PipelineError(f"case {case} has no prompt but p0, so there is none to draw; set prompt_type to p0")
    return generator.choice(_strings(prompts, generator.choice(names), case))


def all_prompts(cases: "pd.DataFrame", prompt_type: str) -> list[str]:
    """All distinct strings that :func:`draw_prompt` can give for the rows of ``cases``, sorted."""
    return sorted(
        {
            string
            for case, prompts in zip(cases["case"], cases["prompts"], strict=True)
            for name in _types(prompts, prompt_type)
            for string in _strings(prompts, name, case)
        }
    )


def names_place(prompt: str) -> bool:
    """Whether ``prompt`` says where in the image something lies."""
    return bool(_PLACE.search(prompt))


def mirrored(prompt: str, sideways: bool, upside_down: bool) -> str:
    """``prompt`` for its image mirrored: the words that say where in the image something lies change with it."""
    words = (_SIDES if sideways else {}) | (_ENDS if upside_down else {})

    def moved(place: re.Match) -> str:
        return re.sub(r"\w+", lambda word: words.get(word[0].lower(), word[0]), place[0])

    return _PLACE.sub(moved, prompt)
