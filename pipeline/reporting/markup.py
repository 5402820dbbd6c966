"""Tables as Markdown and as LaTeX (booktabs), from one description."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import pandas as pd

NOT_AVAILABLE = "n/a"
Rank = Literal["best", "second"]


@dataclass(frozen=True)
class Cell:
    """One cell: what was measured, and in brackets what is reported.

    ``value`` is marked by ``rank``; ``spread`` follows it as ± and ``stars`` as a superscript. ``source`` is the letter
    of the reported number's source.
    """

    value: str = NOT_AVAILABLE
    spread: str | None = None
    rank: Rank | None = None
    stars: str = ""
    reported: str | None = None
    source: str = ""


@dataclass(frozen=True)
class Table:
    """A table for print. The first column is text, the others are numbers."""

    title: str
    header: Sequence[str]
    rows: Sequence[tuple[str, Sequence[Cell]]]
    footnotes: Sequence[str] = ()
    note: str = ""
    label: str = "table"
    rules: frozenset[int] = field(default_factory=frozenset)
    """Rows before which a line is drawn."""


def number(value: float | None, pattern: str) -> str:
    """``value`` as ``pattern`` formats it; what there is not is n/a."""
    return NOT_AVAILABLE if pd.isna(value) else format(value, pattern)


def ranks(values: Sequence[float | None], decimals: int, largest: bool = True) -> list[Rank | None]:
    """Which of ``values`` is best and which second. Equal as shown (``decimals``) is equal: all of them are marked.

    Values that are None take no part. A column with a single distinct value has no best.
    """
    shown = [None if value is None else round(value, decimals) for value in values]
    distinct = sorted({value for value in shown if value is not None}, reverse=largest)
    if len(distinct) < 2:
        return [None] * len(values)
    places: dict[float, Rank] = {distinct[0]: "best", distinct[1]: "second"}
    return [None if value is None else places.get(value) for value in shown]


def markdown(table: Table) -> str:
    """``table`` in GitHub's Markdown: best bold, second underlined, reported in brackets."""

    def text(raw: str) -> str:
        return raw.replace("|", "\\|")

    def cell(entry: Cell) -> str:
        value = {"best": f"**{entry.value}**", "second": f"<u>{entry.value}</u>", None: entry.value}[entry.rank]
        value += f" ± {entry.spread}" if entry.spread else ""
        value += f"<sup>{entry.stars}</sup>".replace("*", "\\*") if entry.stars else ""
        if entry.reported is None:
            return value
        source = f"<sup>{entry.source}</sup>" if entry.source else ""
        return f"{value} [{entry.reported}{source}]"

    lines = [f"**{table.title}**", ""]
    if table.note:
        lines += [f"> {table.note}", ""]
    lines.append("| " + " | ".join(map(text, table.header)) + " |")
    lines.append("| --- |" + " ---: |" * (len(table.header) - 1))
    lines += ["| " + " | ".join([text(name), *map(cell, cells)]) + " |" for name, cells in table.rows]
    if table.footnotes:
        lines += ["", *[line for footnote in table.footnotes for line in (footnote.replace("*", "\\*"), "")]]
    return "\n".join(lines).rstrip() + "\n"


_ESCAPES = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "×": r"$\times$",
    "≥": r"$\geq$",
    "<": r"$<$",
    ">": r"$>$",
    "Δ": r"$\Delta$",
    "α": r"$\alpha$",
    "−": r"$-$",
    "–": "--",
    "…": r"\ldots{}",
}


def escape(text: str) -> str:
    """``text`` as LaTeX shows it literally."""
    return "".join(_ESCAPES.get(character, character) for character in text)


def latex(table: Table) -> str:
    """``table`` as a LaTeX float (packages booktabs and graphicx): best bold, second underlined."""

    def cell(entry: Cell) -> str:
        value = escape(entry.value)
        value = {"best": rf"\textbf{{{value}}}", "second": rf"\underline{{{value}}}", None: value}[entry.rank]
        value += rf"\,$\pm$\,{escape(entry.spread)}" if entry.spread else ""
        value += rf"$^{{{entry.stars}}}$" if entry.stars else ""
        if entry.reported is None:
            return value
        source = rf"$^{{\mathrm{{{entry.source}}}}}$" if entry.source else ""
        return f"{value} [{escape(entry.reported)}{source}]"

    caption = " ".join(part for part in (f"{table.title}.", *table.footnotes, table.note) if part)
    lines = [
        "% needs \\usepackage{booktabs} and \\usepackage{graphicx}",
        r"\begin{table*}",
        r"  \centering",
        rf"  \caption{{{escape(caption)}}}",
        rf"  \label{{tab:{table.label}}}",
        r"  \resizebox{\textwidth}{!}{%",
        rf"  \begin{{tabular}}{{l{'r' * (len(table.header) - 1)}}}",
        r"    \toprule",
        "    " + " & ".join(map(escape, table.header)) + r" \\",
        r"    \midrule",
    ]
    for index, (name, cells) in enumerate(table.rows):
        if index in table.rules:
            lines.append(r"    \midrule")
        lines.append("    " + " & ".join([escape(name), *map(cell, cells)]) + r" \\")
    lines += [r"    \bottomrule", r"  \end{tabular}}", r"\end{table*}"]
    return "\n".join(lines) + "\n"
