"""The type of all figures, and text that fits into a width."""

import re
from collections.abc import Iterable

from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

FONT = "DejaVu Sans"
"""Comes with matplotlib, so that every machine renders the same."""
FONT_SIZE = 7.5
SMALL_FONT_SIZE = 7.0
"""Smallest size, points."""


def text_width(text: str, size: float = FONT_SIZE) -> float:
    """Width of one line of ``text`` in inches."""
    properties = FontProperties(family=FONT, size=size)
    width, _, _ = text_to_path.get_text_width_height_descent(text, properties, ismath=False)
    return width / 72


def wrap(text: str, width: float, size: float = FONT_SIZE) -> str:
    """``text`` with line breaks so that no line is wider than ``width`` inches, if its words allow it.

    Lines break at spaces, and after the hyphen of a word that is too wide by itself.
    """
    parts: list[tuple[str, str]] = []
    for word in text.split():
        pieces = re.findall(r"[^-]+-?|-", word) if text_width(word, size) > width else [word]
        parts += [(" ", pieces[0]), *(("", piece) for piece in pieces[1:])]
    lines: list[str] = []
    for joint, part in parts:
        if lines and text_width(f"{lines[-1]}{joint}{part}", size) <= width:
            lines[-1] += joint + part
        else:
            lines.append(part)
    return "\n".join(lines)


def shorten(text: str, width: float, size: float = FONT_SIZE) -> str:
    """``text``, cut with an ellipsis in its middle if it is wider than ``width`` inches."""
    if text_width(text, size) <= width:
        return text
    for kept in range(len(text) - 1, 1, -1):
        cut = f"{text[: (kept + 1) // 2]}…{text[len(text) - kept // 2 :]}"
        if text_width(cut, size) <= width:
            return cut
    return "…"


def line_count(texts: Iterable[str]) -> int:
    """Lines of the longest of ``texts``."""
    return max(text.count("\n") + 1 for text in texts)
