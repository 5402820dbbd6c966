"""The one style of all figures: fonts, palette, sizes, the provenance footer and how a figure is written."""

import itertools
import re
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

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
FONT_SIZE = 7.5
SMALL_FONT_SIZE = 7.0
LEADER_FROM = 8.0
"""Distance between a label and its point from which a thin line joins them, points."""

# Okabe and Ito, "Color Universal Design" (2008), without its yellow, which is too faint on white paper.
BLACK, ORANGE, SKY, GREEN, BLUE, VERMILLION, PURPLE = (
    "#000000",
    "#E69F00",
    "#56B4E9",
    "#009E73",
    "#0072B2",
    "#D55E00",
    "#CC79A7",
)
YELLOW = "#F0E442"
GREY = "#767676"
LIGHT_GREY = "#D9D9D9"

RC: dict[str, Any] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib, so that every machine renders the same
    "font.size": FONT_SIZE,
    "axes.titlesize": FONT_SIZE,
    "axes.labelsize": FONT_SIZE,
    "xtick.labelsize": SMALL_FONT_SIZE,
    "ytick.labelsize": SMALL_FONT_SIZE,
    "legend.fontsize": SMALL_FONT_SIZE,
    "figure.titlesize": FONT_SIZE,
    "text.parse_math": False,  # a label may hold a dollar sign
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": False,
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
    "hatch.linewidth": 0.5,
    "legend.frameon": False,
    "legend.handlelength": 1.6,
    "figure.dpi": 100,
    "pdf.fonttype": 42,  # TrueType, embedded: many journals refuse Type 3
    "pdf.compression": 9,
    "savefig.facecolor": "white",
}


@dataclass(frozen=True)
class Look:
    """Colour and marker of one variant."""

    colour: str
    marker: str


_FIXED = {
    "telescopic": Look(VERMILLION, "o"),
    "uniform": Look(BLUE, "s"),
    "end_to_end": Look(BLACK, "D"),
    "decoder_only": Look(GREY, "P"),
    "zero_shot": Look(SKY, "X"),
    "vlsm_dense": Look(GREEN, "^"),
    "vlsm_shallow": Look(ORANGE, "v"),
    "lora": Look(PURPLE, ">"),
    "cris": Look(GREY, "h"),
    "san": Look(GREY, "*"),
    "imedsam_lora": Look(GREY, "<"),
}
_OTHERS = [
    Look(colour, marker)
    for marker in ("o", "s", "^", "D", "v", "P", "X", "<", ">", "h")
    for colour in (BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILLION, GREY, BLACK)
]


def looks(variants: Iterable[str]) -> dict[str, Look]:
    """Colour and marker of each of ``variants``, no two alike.

    The study's methods always look the same; any other name gets the look that its spelling picks, moved on only where
    two names of one figure would meet.
    """
    result: dict[str, Look] = {}
    for variant in variants:
        if variant in _FIXED:
            result[variant] = _FIXED[variant]
    for variant in variants:
        if variant in result:
            continue
        start = zlib.crc32(variant.encode())
        free = (_OTHERS[(start + step) % len(_OTHERS)] for step in range(len(_OTHERS)))
        result[variant] = next((look for look in free if look not in result.values()), _OTHERS[start % len(_OTHERS)])
    return result


def text_width(text: str, size: float = FONT_SIZE) -> float:
    """Width of one line of ``text`` in inches."""
    properties = FontProperties(family=RC["font.family"], size=size)
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


def footer_height(note: str, width: float) -> float:
    """Height in inches of the strip that ``note`` takes at the foot of a figure that is ``width`` inches wide."""
    lines = wrap(note, width - 0.12, SMALL_FONT_SIZE).splitlines()
    return 0.06 + 0.125 * len(lines) if lines else 0.0


def new_figure(width: float, height: float, note: str = "", pad: float = 0.03) -> Figure:
    """An empty figure in the house style.

    Args:
        width: inches; see :data:`COLUMN_WIDTH` and :data:`TEXT_WIDTH`.
        height: inches of the drawing; the footer adds its own.
        note: provenance, drawn below the drawing in a strip that the layout keeps free; may be empty.
        pad: inches around each set of axes.
    """
    matplotlib.rcParams.update(RC)
    footer = wrap(note, width - 0.12, SMALL_FONT_SIZE)
    strip = footer_height(note, width)
    figure = Figure(figsize=(width, height + strip), layout="constrained")
    FigureCanvasAgg(figure)
    share = strip / (height + strip)
    figure.get_layout_engine().set(rect=(0, share, 1, 1 - share), w_pad=pad, h_pad=pad, wspace=0.02, hspace=0.02)
    if footer:
        text = figure.text(
            0.06 / width,
            0.04 / (height + strip),
            footer,
            fontsize=SMALL_FONT_SIZE,
            color="#444444",
            va="bottom",
            ha="left",
            linespacing=1.15,
        )
        text.set_in_layout(False)
        text.set_gid("note")
    return figure


def save(figure: Figure, path: str | Path) -> None:
    """Write ``figure`` as ``path`` (PDF) and as PNG beside it, byte for byte the same whenever nothing has changed."""
    path = Path(path)
    # Dates and versions are left out of the files; the manifest of the run records versions.
    with atomic_path(path.with_suffix(".pdf")) as temporary:
        metadata = {"CreationDate": None, "ModDate": None, "Creator": None, "Producer": None}
        figure.savefig(temporary, format="pdf", metadata=metadata, dpi=PDF_IMAGE_DPI)
    with atomic_path(path.with_suffix(".png")) as temporary:
        figure.savefig(temporary, format="png", metadata={"Software": None}, dpi=PNG_DPI)


@dataclass(frozen=True)
class PointLabel:
    """A label that belongs to the point (x, y), in data coordinates."""

    x: float
    y: float
    text: str
    colour: str = BLACK


def _leaders(anchors: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Twelve points along the line from each of ``boxes`` (N, 4) to its anchor: (N, 12, 2); far away where none is."""
    near = np.clip(anchors, boxes[:, :2], boxes[:, 2:])
    way = anchors - near
    line = near[:, None] + np.linspace(0, 1, 12)[None, :, None] * way[:, None]
    drawn = (np.hypot(*way.T) > LEADER_FROM) & (boxes[:, 0] > -1e5)
    return np.where(drawn[:, None, None], line, 1e7)


def label_points(
    axes,
    labels: Sequence[PointLabel],
    obstacles: Sequence[tuple[float, float]] = (),
    lines: Sequence[Sequence[tuple[float, float]]] = (),
) -> None:
    """Write each label beside its point, clear of other labels, of all points, of lines and of the frame.

    The place of each is found by trying rings of positions around its point and taking the one with the least overlap;
    rounds in several orders let labels give way to each other. Labels that end up away from their point get a
    thin line.

    Args:
        axes: holds the points; its limits and scale must be final.
        labels: at most a few dozen.
        obstacles: further points to keep clear of, in data coordinates.
        lines: polylines to keep clear of, in data coordinates.
    """
    figure = axes.figure
    figure.draw_without_rendering()
    scale = 72 / figure.dpi  # everything below is in points, so that it holds at any resolution

    def in_points(places: Sequence[tuple[float, float]]) -> np.ndarray:
        return axes.transData.transform(np.array(places, dtype=float).reshape(-1, 2)) * scale

    frame = axes.get_window_extent()
    frame = np.array([frame.x0, frame.y0, frame.x1, frame.y1]) * scale
    anchors = in_points([(label.x, label.y) for label in labels])
    markers = np.concatenate([anchors, in_points(obstacles)])
    solid = np.concatenate([markers - 3.2, markers + 3.2], axis=1)
    dots = [np.empty((0, 2))]
    for line in lines:
        for start, end in itertools.pairwise(in_points(line)):
            steps = max(2, int(np.hypot(*(end - start)) / 2))
            dots.append(np.linspace(start, end, steps))
    dots = np.concatenate(dots)
    sizes = np.array([(text_width(label.text, SMALL_FONT_SIZE) * 72 + 1.5, SMALL_FONT_SIZE * 1.2) for label in labels])
    radii, angles = np.meshgrid([5.5, 9, 14, 20, 28, 38, 50], np.deg2rad(np.arange(0, 360, 15)), indexing="ij")
    radii, angles = radii.ravel(), angles.ravel()
    directions = np.stack([np.cos(angles), np.sin(angles)], axis=1)

    def overlap(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
        """Shared area of each of ``boxes`` (N, 4) with all ``others`` (M, 4) together."""
        low = np.maximum(boxes[:, None, :2], others[None, :, :2])
        high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
        return np.prod(np.clip(high - low, 0, None), axis=2).sum(axis=1)

    def cheapest(index: int, boxes: np.ndarray) -> tuple[float, np.ndarray]:
        """Cost and box of the best place of one label, the others standing at ``boxes``."""
        half = sizes[index] / 2
        # Distance is measured from the marker to the box's edge, not its centre.
        centres = anchors[index] + directions * (radii[:, None] + half * np.abs(directions))
        trials = np.concatenate([centres - half, centres + half], axis=1)
        rest = np.delete(boxes, index, axis=0)
        others = np.concatenate([np.delete(solid, index, axis=0), rest])
        from_others = _leaders(np.delete(anchors, index, axis=0), rest).reshape(-1, 2)
        crossing = np.concatenate([dots, from_others])
        outside = np.prod(sizes[index]) - overlap(trials, frame[None])
        hits = overlap(trials, others) + overlap(trials, solid[[index]])
        inside = (crossing[None] > trials[:, None, :2]) & (crossing[None] < trials[:, None, 2:])
        leader = _leaders(anchors[index], trials)
        crossed = (leader[:, :, None] > others[None, None, :, :2]) & (leader[:, :, None] < others[None, None, :, 2:])
        cost = 1000 * (outside > 1e-6) + 10 * hits + 8 * inside.all(axis=2).sum(axis=1) + radii
        cost = cost + 8 * crossed.all(axis=3).sum(axis=(1, 2))
        # Reading order prefers the right side, then the left, then above.
        cost = cost + 0.8 * (1 - directions[:, 0]) + 0.8 * (directions[:, 1] < -0.1)
        best = int(np.argmin(cost))
        return float(cost[best]), trials[best]

    generator = np.random.default_rng(0)
    total, boxes = np.inf, np.empty((0, 4))
    for _ in range(4):
        trial = np.full((len(labels), 4), -1e6)
        for _ in range(4):
            costs = {}
            for index in generator.permutation(len(labels)):
                costs[index], trial[index] = cheapest(index, trial)
        if sum(costs.values()) < total:
            total, boxes = sum(costs.values()), trial
    for label, box, anchor in zip(labels, boxes, anchors, strict=True):
        distant = np.hypot(*(anchor - np.clip(anchor, box[:2], box[2:]))) > LEADER_FROM
        start = np.clip((anchor - box[:2]) / (box[2:] - box[:2]), 0, 1)
        line = {
            "arrowstyle": "-",
            "color": GREY,
            "linewidth": 0.5,
            "shrinkA": 0,
            "shrinkB": 2.5,
            "relpos": tuple(start),
        }
        text = axes.annotate(
            label.text,
            (label.x, label.y),
            xytext=(box[:2] + box[2:]) / 2 - anchor,
            textcoords="offset points",
            ha="center",
            va="center",
            fontsize=SMALL_FONT_SIZE,
            color=label.colour,
            arrowprops=line if distant else None,
        )
        text.set_in_layout(False)


def legend_columns(labels: Sequence[str], width: float) -> int:
    """How many columns a legend of ``labels`` should have to fit into ``width`` inches (column spacing 1.2)."""
    widths = [text_width(label, SMALL_FONT_SIZE) + 0.36 for label in labels]

    def fits(count: int) -> bool:
        # matplotlib fills columns one after the other.
        return sum(max(column) for column in np.array_split(widths, count)) <= width - 0.1

    most = next((count for count in range(len(labels), 1, -1) if fits(count)), 1)
    # As many rows, but filled evenly.
    even = -(-len(labels) // -(-len(labels) // most))
    return even if fits(even) else most
