"""Pages of the report: whole HTML documents of Markdown that need no other file."""

import re
import subprocess
import sys

import pytest
from PIL import Image

from pipeline.reporting.page import WIDTH, page
from pipeline.runtime.errors import PipelineError

MARKDOWN = """# Scores & more

> Demo.

| Method | DSC |
| --- | ---: |
| Telescopic | **85.58** ± 0.10<sup>\\*\\*</sup> |

![A figure](figure.png)

Here: [figure.pdf](figure.pdf), [tables/main.md](tables/main.md); [the paper](https://arxiv.org/abs/2512.13855).
"""


def test_a_table_a_note_and_an_image_are_in_the_page(tmp_path):
    Image.new("RGB", (2 * WIDTH, 300), "white").save(tmp_path / "figure.png")
    text = page(MARKDOWN, tmp_path)
    assert "<title>Scores &amp; more</title>" in text
    assert '<td style="text-align:right"><strong>85.58</strong> ± 0.10<sup>**</sup></td>' in text
    assert "<blockquote>\n<p>Demo.</p>" in text
    assert re.findall(r'src="([^"]{23})', text) == ["data:image/webp;base64,"]
    assert text == page(MARKDOWN, tmp_path)


def test_links_to_files_become_text_and_those_to_the_web_stay(tmp_path):
    Image.new("RGB", (20, 20)).save(tmp_path / "figure.png")
    text = page(MARKDOWN, tmp_path)
    assert re.findall(r'href="([^"]*)"', text) == ["https://arxiv.org/abs/2512.13855"]
    assert 'Here: figure.pdf, tables/main.md; <a href="https://arxiv.org/abs/2512.13855">the paper</a>.' in text


def test_a_large_image_stays_within_what_a_browser_takes_in_a_frame(tmp_path):
    noise = Image.effect_noise((2 * WIDTH, 3 * WIDTH), 60)
    noise.save(tmp_path / "figure.png")
    assert len(page(MARKDOWN, tmp_path)) < 2e6


def test_a_missing_image_is_named(tmp_path):
    with pytest.raises(PipelineError, match=r"figure\.png: the page shows it"):
        page(MARKDOWN, tmp_path)


def test_other_html_than_the_formatting_of_tables_is_shown_as_text(tmp_path):
    markdown = "# <b>T</b>\n\n<u>1</u><img src=x>\n\n<script>\nalert(1)\n</script>\n\n| <a onclick=x> |\n| --- |\n"
    text = page(markdown, tmp_path)
    body = text[text.index("<body>") :]
    assert "<u>1</u>&lt;img src=x&gt;" in body and "&lt;script&gt;\nalert(1)\n&lt;/script&gt;" in body
    assert "<h1>&lt;b&gt;T&lt;/b&gt;</h1>" in body and "<th>&lt;a onclick=x&gt;</th>" in body


def test_the_command_line(tmp_path):
    command = [sys.executable, "-m", "pipeline.reporting.page", "--markdown", str(tmp_path / "main.md")]
    command += ["--output", str(tmp_path / "pages/main.html")]
    missing = subprocess.run(command, capture_output=True, text=True)
    assert missing.returncode != 0
    assert "main.md: cannot be read" in missing.stderr and "Traceback" not in missing.stderr
    (tmp_path / "main.md").write_text("**Main**\n\n| a | b |\n| --- | --- |\n| 1 | 2 |\n")
    assert subprocess.run(command).returncode == 0
    assert "<title>Main</title>" in (tmp_path / "pages/main.html").read_text()
