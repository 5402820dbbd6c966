"""Tables as Markdown and as LaTeX (booktabs, threeparttable), from one description; and how their files are written."""

import argparse
import re
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import pandas as pd

from pipeline.reporting import markdown as md
from pipeline.reporting.formats import NOT_AVAILABLE
from pipeline.runtime.atomic import write_csv, write_text

Rank = Literal["best", "second"]


@dataclass(frozen=True)
class Cell:
    """One cell: what was measured, and in brackets what is reported.

    ``value`` is marked by ``rank``; ``spread`` follows it as ± and ``mark`` as a superscript. ``source`` is the letter
    of the reported number's source.
    """

    value: str = NOT_AVAILABLE
    spread: str | None = None
    rank: Rank | None = None
    mark: str = ""
    reported: str | None = None
    source: str = ""


@dataclass
class Table:
    """A table for print. The first column is text, the others are numbers; all text is shown as it is written."""

    title: str
    header: Sequence[str]
    rows: Sequence[tuple[str, Sequence[Cell]]]
    footnotes: list[str]
    rules: frozenset[int] = frozenset()
    """Rows before which LaTeX draws a line."""


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


def rules_between(groups: Iterable[str]) -> frozenset[int]:
    """Rules for :class:`Table` between groups of rows, from the group of each row."""
    groups = list(groups)
    return frozenset(row for row in range(1, len(groups)) if groups[row] != groups[row - 1])


def markdown(table: Table, note: str) -> str:
    """``table`` in GitHub's Markdown below ``note``: best bold, second underlined, reported in brackets."""

    def cell(entry: Cell) -> str:
        value = md.escape(entry.value)
        value = {"best": f"**{value}**", "second": f"<u>{value}</u>", None: value}[entry.rank]
        value += f" ± {entry.spread}" if entry.spread else ""
        value += f"<sup>{md.escape(entry.mark)}</sup>" if entry.mark else ""
        if entry.reported is None:
            return value
        source = f"<sup>{entry.source}</sup>" if entry.source else ""
        return f"{value} [{entry.reported}{source}]"

    rows = [[md.escape(name), *map(cell, cells)] for name, cells in table.rows]
    blocks = [[f"**{md.escape(table.title)}**"]]
    if note:
        blocks.append([f"> {md.paragraph(note)}"])
    blocks.append(md.table(table.header, rows, "l" + "r" * (len(table.header) - 1)))
    blocks += [[md.paragraph(footnote)] for footnote in table.footnotes]
    return "\n\n".join("\n".join(lines) for lines in blocks) + "\n"


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
    "—": "---",
    "…": r"\ldots{}",
}


def escape(text: str) -> str:
    """``text`` on one line, as LaTeX shows it literally."""
    text = re.sub(r"(?<!\w)-(?=\d)", "−", " ".join(text.split()))
    escaped = "".join(_ESCAPES.get(character, character) for character in text)
    # A bracket after a line's end or an item's begin would be its option.
    return f"{{}}{escaped}" if escaped.startswith("[") else escaped


def latex(table: Table, note: str, name: str, made_from: str) -> str:
    """``table`` as a LaTeX float with the label ``tab:name``: the title above it, footnotes and ``note`` below.

    Tables wider than the text are scaled down. ``made_from`` is a comment in the file.
    """

    def cell(entry: Cell) -> str:
        value = escape(entry.value)
        value = {"best": rf"\textbf{{{value}}}", "second": rf"\underline{{{value}}}", None: value}[entry.rank]
        value += rf"\,$\pm$\,{escape(entry.spread)}" if entry.spread else ""
        value += rf"\textsuperscript{{{escape(entry.mark)}}}" if entry.mark else ""
        if entry.reported is None:
            return value
        source = rf"$^{{\mathrm{{{entry.source}}}}}$" if entry.source else ""
        return f"{value} [{escape(entry.reported)}{source}]"

    lines = [
        r"% needs \usepackage{booktabs,graphicx,threeparttable}",
        *(f"% {line}" for line in textwrap.wrap(made_from, 100)),
        r"\begin{table*}",
        r"  \centering",
        r"  \begin{threeparttable}",
        rf"  \caption{{{escape(table.title)}.}}",
        rf"  \label{{tab:{name}}}",
        # The outer tabular tells threeparttable the width after scaling.
        r"  \begin{tabular}{@{}c@{}}\resizebox{\ifdim\width>\textwidth\textwidth\else\width\fi}{!}{%",
        rf"  \begin{{tabular}}{{l{'r' * (len(table.header) - 1)}}}",
        r"    \toprule",
        "    " + " & ".join(map(escape, table.header)) + r" \\",
        r"    \midrule",
    ]
    for index, (name, cells) in enumerate(table.rows):
        if index in table.rules:
            lines.append(r"    \midrule")
        lines.append("    " + " & ".join([escape(name), *map(cell, cells)]) + r" \\")
    lines += [r"    \bottomrule", r"  \end{tabular}}\end{tabular}"]
    if footnotes := [footnote for footnote in (*table.footnotes, note) if footnote]:
        lines.append(r"  \begin{tablenotes}[flushleft]\footnotesize")
        lines += [rf"    \item {escape(footnote)}" for footnote in footnotes]
        lines.append(r"  \end{tablenotes}")
    lines += [r"  \end{threeparttable}", r"\end{table*}"]
    return "\n".join(lines) + "\n"


def write(
    frame: pd.DataFrame, table: Table, options: argparse.Namespace, made_from: str, missing: str = NOT_AVAILABLE
) -> None:
    """Write a table as .csv, .md and .tex.

    Args:
        frame: content of the CSV; None and NaN become ``missing``.
        options: hold ``output``, the path without ending, and ``note``.
        made_from: what the numbers derive from: the last footnote, and a comment of the .tex.
    """
    write_csv(f"{options.output}.csv", frame.astype(object).where(frame.notna(), missing))
    cited = replace(table, footnotes=[*table.footnotes, made_from])
    write_text(f"{options.output}.md", markdown(cited, options.note))
    write_text(f"{options.output}.tex", latex(table, options.note, options.output.name, made_from))
