"""Markdown (GitHub's): text that shows as it is written, and tables."""

import re
from collections.abc import Iterable, Sequence

# What would start formatting, code, mathematics, a cell, HTML, an entity or a link; underscores within words do not.
_SPECIAL = re.compile(
    r"[*`~$|]"
    r"|\\(?=[!-/:-@\[-`{-~])"
    r"|<(?=[A-Za-z/!?])"
    r"|&(?=#?\w+;)"
    r"|\](?=[(\[:])"
    r"|(?<!\w)_|_(?!\w)"
)
# What would make a paragraph a heading, a list, a quotation or a rule.
_BLOCK = re.compile(r"^(?=[#>=+-])|^(\d+)(?=[.)])")
_ALIGNMENT = {"l": "---", "r": "---:"}


def escape(text: str) -> str:
    """``text`` on one line, so that Markdown shows it literally, in cells and paragraphs: no formatting, no HTML."""
    return _SPECIAL.sub(r"\\\g<0>", " ".join(text.split()))


def paragraph(text: str) -> str:
    """As :func:`escape`, for text that begins a line."""
    return _BLOCK.sub(r"\1\\", escape(text))


def unescape(text: str) -> str:
    """What :func:`escape` and :func:`paragraph` were given, but for its spaces."""
    return re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", text)


def table(header: Sequence[str], rows: Iterable[Sequence[str]], alignment: str) -> list[str]:
    """The lines of a table.

    Args:
        header: of each column; escaped here.
        rows: cells of each row, as Markdown: text from elsewhere goes through :func:`escape` first.
        alignment: a letter for each column, ``l`` (text) or ``r`` (numbers).
    """
    lines = [[escape(name) for name in header], [_ALIGNMENT[letter] for letter in alignment], *rows]
    return [f"| {' | '.join(cells)} |" for cells in lines]
