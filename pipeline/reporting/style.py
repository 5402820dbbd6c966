"""The frame of all figures: sizes, the provenance footer, the legend above, and how a figure is written."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from pipeline.reporting.lettering import FONT, FONT_SIZE, SMALL_FONT_SIZE, text_width, wrap
from pipeline.reporting.palette import LIGHT_GREY
from pipeline.runtime.atomic import atomic_path

COLUMN_WIDTH = 3.3
"""Width of one journal column, inches."""
TEXT_WIDTH = 6.9
"""Width of the text block, inches."""
PAGE_HEIGHT = 9.2
"""Tallest figure that leaves room for a caption, inches."""
PNG_DPI = 300
PDF_IMAGE_DPI = 220
"""Resolution of photographs inside PDFs; all else there is vector graphics."""

RC: dict[str, Any] = {
    "font.family": FONT,
    "font.size": FONT_SIZE,
    "axes.titlesize": FONT_SIZE,
    "axes.labelsize": FONT_SIZE,
    "xtick.labelsize": SMALL_FONT_SIZE,
    "ytick.labelsize": SMALL_FONT_SIZE,
    "legend.fontsize": SMALL_FONT_SIZE,
    "text.parse_math": False,  # a label may hold a dollar sign
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": LIGHT_GREY,
    "grid.linewidth": 0.5,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "xtick.minor.size": 1.5,
    "ytick.minor.size": 1.5,
    "lines.linewidth": 1.2,
    "lines.markersize": 4.5,
    "legend.frameon": False,
    "legend.handlelength": 1.6,
    "figure.dpi": 100,
    "pdf.fonttype": 42,  # TrueType, embedded: many journals refuse Type 3
    "pdf.compression": 9,
    "savefig.facecolor": "white",
}


def footer_height(note: str, width: float) -> float:
    """Height in inches of the strip that ``note`` takes at the foot of a figure that is ``width`` inches wide."""
    lines = wrap(note, width - 0.12, SMALL_FONT_SIZE).splitlines()
    return 0.06 + 0.125 * len(lines) if lines else 0.0


def new_figure(width: float, height: float, note: str = "") -> Figure:
    """An empty figure in the house style.

    Args:
        width: inches; see :data:`COLUMN_WIDTH` and :data:`TEXT_WIDTH`.
        height: inches of the drawing; the footer adds its own.
        note: provenance, drawn below the drawing in a strip that the layout keeps free; may be empty.
    """
    matplotlib.rcParams.update(RC)
    strip = footer_height(note, width)
    total = height + strip
    figure = Figure(figsize=(width, total), layout="constrained")
    FigureCanvasAgg(figure)
    area = (0, strip / total, 1, height / total)
    figure.get_layout_engine().set(rect=area, w_pad=0.03, h_pad=0.03, wspace=0.02, hspace=0.02)
    if note:
        footer = wrap(note, width - 0.12, SMALL_FONT_SIZE)
        small = {"fontsize": SMALL_FONT_SIZE, "color": "#444444", "linespacing": 1.15}
        text = figure.text(0.06 / width, 0.04 / total, footer, va="bottom", ha="left", **small)
        text.set_in_layout(False)
        text.set_gid("note")
    return figure


def save(figure: Figure, stem: str | Path) -> None:
    """Write ``stem``.pdf and ``stem``.png, byte for byte the same whenever nothing has changed."""
    # Dates and versions are left out of the files; the manifest of the run records versions.
    with atomic_path(f"{stem}.pdf") as temporary:
        metadata = {"CreationDate": None, "ModDate": None, "Creator": None, "Producer": None}
        figure.savefig(temporary, format="pdf", metadata=metadata, dpi=PDF_IMAGE_DPI)
    with atomic_path(f"{stem}.png") as temporary:
        figure.savefig(temporary, format="png", metadata={"Software": None}, dpi=PNG_DPI)


def legend_columns(texts: Sequence[str], width: float) -> int:
    """How many columns a legend of ``texts`` should have to fit into ``width`` inches."""
    widths = [text_width(text, SMALL_FONT_SIZE) + 0.36 for text in texts]

    def fits(count: int) -> bool:
        # matplotlib fills columns one after the other.
        return sum(max(column) for column in np.array_split(widths, count)) <= width - 0.1

    most = next((count for count in range(len(texts), 1, -1) if fits(count)), 1)
    # As many rows, but filled evenly.
    even = math.ceil(len(texts) / math.ceil(len(texts) / most))
    return even if fits(even) else most


def legend_height(texts: Sequence[str], width: float) -> float:
    """Inches that :func:`top_legend` takes of a figure ``width`` inches wide."""
    return 0.15 * math.ceil(len(texts) / legend_columns(texts, width))


def top_legend(figure: Figure, handles: Sequence[Any], **options: Any) -> None:
    """A legend above all panels, in as many columns as fit.

    Args:
        handles: artists or containers, each with a label.
        options: further ones of :meth:`matplotlib.figure.Figure.legend`.
    """
    columns = legend_columns([handle.get_label() for handle in handles], figure.get_figwidth())
    figure.legend(handles=handles, loc="outside upper left", ncols=columns, columnspacing=1.2, **options)
