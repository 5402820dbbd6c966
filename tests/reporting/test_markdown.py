"""Markdown shows escaped text as it was."""

import html
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from pipeline.reporting.markdown import escape, paragraph, table, unescape

RENDER = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
SPECIAL = st.text(st.sampled_from("ab1 <>&;#!\"'`*_~$|\\[](){}:/.+-=x\n\té"), max_size=30)


def _shown(markdown: str) -> list[str]:
    """The text of each paragraph or cell of the rendered Markdown."""
    return [
        html.unescape(text) for text in re.findall(r"<(?:p|td)[^>]*>(.*?)</(?:p|td)>", RENDER.render(markdown), re.S)
    ]


@given(SPECIAL)
@example("<b>x</b>")
@example("&amp; [a]: b")
@example("a\\|b\\")
@example("===")
@example("12) x")
def test_text_is_shown_literally(text):
    expected = " ".join(text.split())
    if expected:
        assert _shown(paragraph(text)) == [expected]
        assert _shown("\n".join(table(["h"], [[escape(text)]], "l"))) == [expected]
    assert unescape(paragraph(text)) == unescape(escape(text)) == expected


@pytest.mark.parametrize("text", ["DSC (%) [95% CI]", "p < 0.05", "d_z, per_case.csv", "<0.0001", "R & D", "-14.00"])
def test_ordinary_text_is_left_as_it_is(text):
    assert escape(text) == text


def test_alignment():
    assert table(["a|b", "c"], [["1", "2"]], "lr") == ["| a\\|b | c |", "| --- | ---: |", "| 1 | 2 |"]
