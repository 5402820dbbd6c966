"""The figures' style: files that repeat, fonts, footer, palette, text that fits."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from matplotlib.text import Text
from reporting_support import clipped, overlaps

from pipeline.reporting.lettering import shorten, text_width, wrap
from pipeline.reporting.palette import VERMILLION, marks
from pipeline.reporting.style import TEXT_WIDTH, footer_height, legend_columns, new_figure, save

NOTE = "Not comparable with the paper: phantom images; a tiny backbone pretrained on coloured shapes, not CLIPSeg's."


def _small_figure(note=NOTE):
    figure = new_figure(3.3, 1.6, note)
    axes = figure.subplots()
    axes.plot([0, 1, 2], [3, 1, 2], marker="o")
    axes.set_xlabel("Layer, α ± 1 × 2")
    return figure


def test_files_are_the_same_in_every_process(tmp_path):
    script = (
        "import sys; sys.path[:0] = sys.argv[2:]; from test_style import _small_figure; "
        "from pipeline.reporting.style import save; save(_small_figure(), sys.argv[1])"
    )
    root = Path(__file__).parents[2]
    for seed in ("1", "2"):
        environment = os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": str(root)}
        folders = [str(Path(__file__).parent), str(root / "tests/support")]
        command = [sys.executable, "-c", script, str(tmp_path / seed / "figure"), *folders]
        subprocess.run(command, check=True, env=environment, cwd=tmp_path)
    for suffix in ("pdf", "png"):
        first, second = ((tmp_path / seed / f"figure.{suffix}").read_bytes() for seed in ("1", "2"))
        assert first == second
        assert len(first) > 2000
    assert sorted(path.name for path in (tmp_path / "1").iterdir()) == ["figure.pdf", "figure.png"]


def test_pdf_embeds_truetype_fonts_and_holds_no_date(tmp_path):
    save(_small_figure(), tmp_path / "figure")
    content = (tmp_path / "figure.pdf").read_bytes()
    assert b"/Type3" not in content
    assert b"/FontFile2" in content
    assert b"/CreationDate" not in content
    embedded = set(re.findall(rb"/BaseFont /([\w+-]+)", content))
    assert embedded and all(b"DejaVu" in name for name in embedded)


def test_png_is_300_dpi_and_carries_no_version(tmp_path):
    from PIL import Image

    save(_small_figure(note=""), tmp_path / "figure")
    with Image.open(tmp_path / "figure.png") as image:
        assert image.size == (990, 480)
        assert "Software" not in image.info


def test_footer_is_drawn_below_everything_else():
    figure = _small_figure()
    assert figure.get_size_inches()[1] == pytest.approx(1.6 + footer_height(NOTE, 3.3))
    figure.draw_without_rendering()
    (footer,) = [text for text in figure.findobj(Text) if text.get_gid() == "note"]
    assert footer.get_text().replace("\n", " ") == NOTE
    assert footer.get_text().count("\n") == 1
    assert overlaps(figure, slack=0) == []
    assert clipped(figure, slack=0) == []
    assert footer.get_window_extent().y1 < min(axes.get_tightbbox().y0 for axes in figure.axes)


def test_no_note_takes_no_room():
    assert footer_height("", 3.3) == 0
    assert new_figure(3.3, 1.6).get_size_inches().tolist() == [3.3, 1.6]


def test_marks_are_distinct_stable_and_fixed_for_the_methods():
    many = [f"variant_{index}" for index in range(40)]
    found = marks([*many, "telescopic", "uniform"])
    assert len(set(found.values())) == 42
    assert marks(["uniform"])["uniform"] == found["uniform"]
    assert [name for name, mark in found.items() if mark.colour == VERMILLION] == ["telescopic"]
    assert marks(["reversed"]) == {"reversed": marks(["zero_shot", "reversed", "lora"])["reversed"]}


def test_wrap_and_shorten_keep_to_the_width():
    text = "VLSM-Adapter with a rather long explanation"
    lines = wrap(text, 1.0).splitlines()
    assert " ".join(lines) == text and len(lines) == 3
    assert all(text_width(line) <= 1.0 for line in lines)
    assert wrap("VLSM-Adapter (dense)", 0.75, 7).splitlines() == ["VLSM-Adapter", "(dense)"]
    assert wrap("VLSM-Adapter (dense)", 0.55, 7).splitlines() == ["VLSM-", "Adapter", "(dense)"]
    cut = shorten("cju0qkwl35piu0993l0dewei2", 0.6, 7)
    assert text_width(cut, 7) <= 0.6 and cut.startswith("cju") and cut.endswith("ei2") and "…" in cut
    assert shorten("busi", 0.6, 7) == "busi"


def test_text_width_is_what_is_drawn():
    figure = new_figure(3, 1)
    text = figure.text(0, 0, "Telescopic Adapters", fontsize=7)
    drawn = text.get_window_extent(figure.canvas.get_renderer()).width / figure.dpi
    assert text_width("Telescopic Adapters", 7) == pytest.approx(drawn, rel=0.03)


def test_legend_columns_fit():
    assert legend_columns(["a", "b", "c"], TEXT_WIDTH) == 3
    # Six would fit, but four and three look better than six and one.
    assert legend_columns(["a rather long name"] * 6 + ["z"], 5 * (text_width("a rather long name", 7) + 0.4)) == 4
    assert legend_columns(["x" * 60, "y" * 60], 3.3) == 1
