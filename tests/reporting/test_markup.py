"""Tables as Markdown and LaTeX, exactly; marks; text that must not be taken for markup."""

import shutil
import subprocess
from argparse import Namespace

import pandas as pd
import pytest

from pipeline.reporting.markup import Cell, Table, escape, latex, markdown, ranks, rules_between, write
from pipeline.reporting.page import page

TEX = shutil.which("pdflatex") or shutil.which("tectonic")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([85.581, 85.584, 80.0, None], ["best", "best", "second", None]),
        ([1.0, 2.0, 2.0, 3.0], [None, "second", "second", "best"]),
        ([2.0, 2.0], [None, None]),
        ([None, None], [None, None]),
        ([5.0], [None]),
    ],
)
def test_ranks_mark_ties_alike(values, expected):
    assert ranks(values, 2) == expected


def test_ranks_of_costs_prefer_small():
    assert ranks([3.0, 1.0, 2.0], 2, largest=False) == [None, "best", "second"]


def test_rules_stand_between_groups():
    assert rules_between(["a", "a", "b", "a"]) == {2, 3} and rules_between([]) == set()


TABLE = Table(
    title="DSC (%)",
    header=["Method", "A_1"],
    rows=[
        ("50% & more", [Cell("91.20", "0.30", "best", "**", "90.00", "a")]),
        ("x|y", [Cell("90.00", rank="second")]),
        ("z", [Cell()]),
    ],
    footnotes=["Mean ± sd.", "*: p < 0.05."],
    rules=frozenset({2}),
)


def test_markdown_is_exactly_this():
    assert markdown(TABLE, "Demo: 1 < 2.") == (
        "**DSC (%)**\n\n> Demo: 1 < 2.\n\n"
        "| Method | A_1 |\n| --- | ---: |\n"
        "| 50% & more | **91.20** ± 0.30<sup>\\*\\*</sup> [90.00<sup>a</sup>] |\n"
        "| x\\|y | <u>90.00</u> |\n"
        "| z | n/a |\n\nMean ± sd.\n\n\\*: p < 0.05.\n"
    )


def test_latex_is_exactly_this():
    assert latex(TABLE, "Demo: 1 < 2.", "test", "Made from 1 run.") == (
        "% needs \\usepackage{booktabs,graphicx,threeparttable}\n% Made from 1 run.\n"
        "\\begin{table*}\n  \\centering\n  \\begin{threeparttable}\n"
        "  \\caption{DSC (\\%).}\n  \\label{tab:test}\n"
        "  \\begin{tabular}{@{}c@{}}\\resizebox{\\ifdim\\width>\\textwidth\\textwidth\\else\\width\\fi}{!}{%\n"
        "  \\begin{tabular}{lr}\n    \\toprule\n"
        "    Method & A\\_1 \\\\\n    \\midrule\n"
        "    50\\% \\& more & \\textbf{91.20}\\,$\\pm$\\,0.30\\textsuperscript{**} [90.00$^{\\mathrm{a}}$] \\\\\n"
        "    x|y & \\underline{90.00} \\\\\n    \\midrule\n"
        "    z & n/a \\\\\n    \\bottomrule\n  \\end{tabular}}\\end{tabular}\n"
        "  \\begin{tablenotes}[flushleft]\\footnotesize\n"
        "    \\item Mean $\\pm$ sd.\n    \\item *: p $<$ 0.05.\n    \\item Demo: 1 $<$ 2.\n"
        "  \\end{tablenotes}\n  \\end{threeparttable}\n\\end{table*}\n"
    )


def test_latex_escapes_what_would_break_a_document():
    assert escape("a_b 5% $x$ {y} \\z α\n≥ 1") == (r"a\_b 5\% \$x\$ \{y\} \textbackslash{}z $\alpha$ $\geq$ 1")
    assert escape("[-1.5, +2] 4-9 p-1") == r"{}[$-$1.5, +2] 4-9 p-1"


HOSTILE = "<script>alert('x')</script> | **b** [c](javascript:d) ![e](f.png) `g` &lt; _h_ ~~i~~\n\n# j <img src=k>"


def test_hostile_text_stays_text_from_table_to_page(tmp_path):
    table = Table(
        title=HOSTILE,
        header=["Method", HOSTILE],
        rows=[(HOSTILE, [Cell(HOSTILE, rank="best")])],
        footnotes=["# " + HOSTILE],
    )
    options = Namespace(output=tmp_path / "test", note="- " + HOSTILE)
    write(pd.DataFrame({"label": [HOSTILE, None]}), table, options, "1. " + HOSTILE)
    assert pd.read_csv(tmp_path / "test.csv", keep_default_na=False)["label"].tolist() == [HOSTILE, "n/a"]
    assert "% 1. " in (tmp_path / "test.tex").read_text()
    text = page((tmp_path / "test.md").read_text(), tmp_path)
    # As the text of one cell, one title and so on; nothing of it is an element.
    shown = (
        "&lt;script&gt;alert('x')&lt;/script&gt; | **b** [c](javascript:d) ![e](f.png) `g` &amp;lt; _h_ ~~i~~ "
        "# j &lt;img src=k&gt;"
    )
    body = text[text.index("<body>") :]
    assert body.count(shown) == 7 and body.count("<tr>") == 2 and body.count("<td") == 2
    for element in ("<script", "<img", "<a ", "<em", "<code", "<h1", "<li", "<s>"):
        assert element not in body
    assert f"<td>{shown}</td>" in body and f"<strong>{shown}</strong></td>" in body
    assert f"<p># {shown}</p>" in body and f"<p>1. {shown}</p>" in body and f"<p>- {shown}</p>" in body
    assert "<title>&lt;script&gt;" in text


@pytest.mark.skipif(TEX is None, reason="needs pdflatex or tectonic")
def test_latex_compiles(tmp_path):
    """Text that could be taken for commands, a wide table and a narrow one; nothing is wider than the page."""
    wide = Table(
        title="Wide: " + HOSTILE,
        header=["Method", *["BKAI-IGH NeoPolyp"] * 14],
        rows=[("[first]", [Cell("-1.00", "0.30", "best", "−", "90.00", "a")] * 14), ("α", [Cell("≥ × … – ~^")] * 14)],
        footnotes=["[no option] " + HOSTILE, "Δ"],
    )
    source = [r"\documentclass{article}\usepackage{booktabs,graphicx,threeparttable}\begin{document}"]
    source += [latex(table, "Demo", name, "50% of $") for name, table in (("wide", wide), ("narrow", TABLE))]
    (tmp_path / "tables.tex").write_text("\n".join([*source, r"\end{document}"]), encoding="utf-8")
    options = ["-interaction=nonstopmode", "-halt-on-error"] if "pdflatex" in TEX else ["--keep-logs"]
    done = subprocess.run([TEX, *options, "tables.tex"], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and (tmp_path / "tables.pdf").stat().st_size, done.stdout[-2000:] + done.stderr[-2000:]
    assert "Overfull" not in (tmp_path / "tables.log").read_text(errors="replace")
