"""Cases by variants: images with the contours of target and prediction, and the case's DSC."""

import argparse
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from zipfile import BadZipFile

import numpy as np
from contourpy import contour_generator
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from PIL import Image

from pipeline.evaluation.readers import (
    add_figure_options,
    dataset_label,
    dataset_order,
    json_value,
    variant_label,
)
from pipeline.reporting.style import (
    BLACK,
    PAGE_HEIGHT,
    PNG_DPI,
    SKY,
    SMALL_FONT_SIZE,
    TEXT_WIDTH,
    YELLOW,
    footer_height,
    new_figure,
    save,
    shorten,
    text_width,
    wrap,
)
from pipeline.runtime.errors import PipelineError

TARGET_COLOUR, PREDICTION_COLOUR = SKY, YELLOW
DASHES = (0, (2.0, 1.4))
HALF_LINE = 0.6
"""Half the width of a border, points."""
GAP = 0.03
LEFT = 0.34
LEGEND_HEIGHT = 0.2
LARGEST_CELL = 1.35
GROUP_GAP = 0.06
SMALLEST_WIDTH = 3.3


class Case(NamedTuple):
    """One case of a gallery: image (H, W, 3) uint8, masks (H, W) bool, predictions and DSC (0..1) by variant."""

    dataset: str
    name: str
    role: str
    image: np.ndarray
    target: np.ndarray
    predictions: dict[str, np.ndarray]
    dsc: dict[str, float]


def read_gallery(path: str | Path) -> list[Case]:
    """Read ``{dataset}.npz`` as ``pipeline.evaluation.gallery`` writes it.

    Raises:
        PipelineError: the file is missing, damaged, or lacks an array.
    """
    path = Path(path)
    cases = []
    try:
        with np.load(path, allow_pickle=False) as arrays:
            variants = [str(name) for name in arrays["variants"]]
            scores = arrays["dsc"]
            for index, (name, role) in enumerate(zip(arrays["cases"], arrays["roles"], strict=True)):
                masks = arrays[f"prediction_{index}"].astype(bool)
                cases.append(
                    Case(
                        path.stem,
                        str(name),
                        str(role),
                        arrays[f"image_{index}"],
                        arrays[f"target_{index}"].astype(bool),
                        dict(zip(variants, masks, strict=True)),
                        dict(zip(variants, map(float, scores[index]), strict=True)),
                    )
                )
    except (OSError, EOFError, BadZipFile, KeyError, ValueError, IndexError) as error:
        raise PipelineError(f"{path}: not a gallery ({error}); run its rule again") from None
    return cases


def _cell_size(columns: int, rows: int, aspect: float, used_height: float) -> tuple[float, float]:
    """Width and height in inches of a cell such that the grid fits the page."""
    width = min(LARGEST_CELL, (TEXT_WIDTH - LEFT) / columns - GAP)
    height = min(width / aspect, (PAGE_HEIGHT - used_height) / rows - GAP)
    return height * aspect, height


def blank(width: float, height: float) -> Image.Image:
    """A white picture of ``width`` times ``height`` inches, for :func:`paste`."""
    return Image.new("RGB", (round(width * PNG_DPI), round(height * PNG_DPI)), "white")


def paste(sheet: Image.Image, picture: np.ndarray, box: tuple[float, float, float, float]) -> None:
    """Put ``picture`` (H, W, 3) uint8 on ``sheet``, scaled to ``box`` (left, top, right, bottom in inches)."""
    left, top, right, bottom = (round(side * PNG_DPI) for side in box)
    size = (max(1, right - left), max(1, bottom - top))
    sheet.paste(Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS), (left, top))


def _borders(mask: np.ndarray, box: tuple[float, float, float, float]) -> list[np.ndarray]:
    """Borders of ``mask`` (H, W) bool as (N, 2) points, scaled to ``box`` (left, top, right, bottom, inches)."""
    low, high = np.array(box[:2]), np.array(box[2:])
    # A rim of background closes the line where the mask touches the image's edge.
    lines = contour_generator(z=np.pad(mask, 1).astype(np.float32)).lines(0.5)
    inset = HALF_LINE / 72  # along an edge, the line stays within the image
    return [np.clip(low + (line - 0.5) / mask.shape[::-1] * (high - low), low + inset, high - inset) for line in lines]


def outline_masks(
    axes, box: tuple[float, float, float, float], target: np.ndarray, prediction: np.ndarray | None = None
) -> None:
    """Draw the borders of a target and, if there is one, a prediction, (H, W) bool each, into ``box``.

    The prediction is a solid line and the target a dashed one above it, so that both show where they agree.

    Args:
        axes: its data units are inches.
        box: left, top, right, bottom.
    """
    edge = Rectangle(box[:2], box[2] - box[0], box[3] - box[1], transform=axes.transData)
    targets = _borders(target, box)
    layers = [(targets, BLACK, 1.9, "-")]
    if prediction is None:
        layers.append((targets, TARGET_COLOUR, 1.0, "-"))
    else:
        predictions = _borders(prediction, box)
        layers += [(predictions, BLACK, 1.9, "-"), (predictions, PREDICTION_COLOUR, 1.0, "-")]
        layers.append((targets, TARGET_COLOUR, 1.0, DASHES))
    for lines, colour, width, style in layers:
        if lines:
            drawn = LineCollection(lines, colors=colour, linewidths=width, linestyles=style, zorder=2)
            axes.add_collection(drawn, autolim=False)
            drawn.set_clip_path(edge)


def case_grid(
    cases: Sequence[Case],
    roles: Collection[str],
    variants: Sequence[str],
    labels: Mapping[str, str],
    note: str = "",
    name_rows_by_case: bool = False,
) -> Figure:
    """One row a case whose role is among ``roles``, one column a variant after the bare image.

    Args:
        cases: of one or several datasets.
        variants: columns, in their order.
        name_rows_by_case: write the case's name beside its row instead of its role.

    Raises:
        PipelineError: no case has such a role, or a gallery lacks a variant.
    """
    order = dataset_order(case.dataset for case in cases)
    chosen = [case for dataset in order for case in cases if case.dataset == dataset and case.role in roles]
    if not chosen:
        raise PipelineError(f"the galleries hold no case with role {' or '.join(sorted(roles))}; make them anew")
    for case in chosen:
        missing = [variant for variant in variants if variant not in case.predictions]
        if missing:
            raise PipelineError(f"{case.dataset}: gallery lacks variant {', '.join(missing)}; make it anew")
    aspects = [case.target.shape[1] / case.target.shape[0] for case in chosen]
    aspect = float(np.clip(np.median(aspects), 0.8, 1.4))
    columns = 1 + len(variants)
    headings = ["Image", *(variant_label(labels, variant) for variant in variants)]
    breaks = GROUP_GAP * (len({case.dataset for case in chosen}) - 1)
    used = LEGEND_HEIGHT + breaks + footer_height(note, SMALLEST_WIDTH)
    width, _ = _cell_size(columns, len(chosen), aspect, used + 0.5)
    wrapped = [wrap(text, width, SMALL_FONT_SIZE) for text in headings]
    upright = any(text_width(line, SMALL_FONT_SIZE) > width for text in wrapped for line in text.splitlines())
    if upright:
        headings = [shorten(text, 1.3, SMALL_FONT_SIZE) for text in headings]
        heading_height = 0.06 + max(text_width(text, SMALL_FONT_SIZE) for text in headings)
    else:
        headings = wrapped
        heading_height = 0.06 + 0.12 * max(len(text.splitlines()) for text in headings)
    width, height = _cell_size(columns, len(chosen), aspect, used + heading_height)
    # The legend's text needs some width even where there are few columns.
    total_width = max(LEFT + columns * (width + GAP), SMALLEST_WIDTH)
    drawing = LEGEND_HEIGHT + heading_height + len(chosen) * (height + GAP) + breaks
    figure = new_figure(total_width, drawing, note)
    figure.set_layout_engine("none")
    # One set of axes in inches from the top left corner and one picture hold everything: far quicker than one a cell.
    total_height = drawing + footer_height(note, total_width)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    small = {"size": SMALL_FONT_SIZE}
    sheet = blank(total_width, total_height)
    for column, heading in enumerate(headings):
        centre = LEFT + column * (width + GAP) + width / 2
        bottom = LEGEND_HEIGHT + heading_height - 0.03
        axes.text(centre, bottom, heading, ha="center", va="bottom", rotation=90 if upright else 0, **small)
    top = LEGEND_HEIGHT + heading_height - (height + GAP)
    for row, case in enumerate(chosen):
        first = row == 0 or chosen[row - 1].dataset != case.dataset
        top += height + GAP + (GROUP_GAP if first and row else 0)
        scale = min(width / case.image.shape[1], height / case.image.shape[0])
        fitted = (case.image.shape[1] * scale, case.image.shape[0] * scale)
        # The first column shows the bare image: what was segmented, without our lines on it.
        for column, variant in enumerate([None, *variants]):
            left = LEFT + column * (width + GAP) + (width - fitted[0]) / 2
            upper = top + (height - fitted[1]) / 2
            box = (left, upper, left + fitted[0], upper + fitted[1])
            paste(sheet, case.image, box)
            if variant is None:
                continue
            outline_masks(axes, box, case.target, case.predictions[variant])
            axes.text(
                LEFT + column * (width + GAP) + 0.03,
                top + height - 0.03,
                f"{100 * case.dsc[variant]:.1f}",
                color="white",
                weight="bold",
                path_effects=[withStroke(linewidth=1.6, foreground=BLACK)],
                **small,
            )
        name = shorten(case.name, height, SMALL_FONT_SIZE) if name_rows_by_case else case.role
        axes.text(0.26, top + height / 2, name, rotation=90, ha="center", va="center", **small)
        if first:
            count = sum(other.dataset == case.dataset for other in chosen)
            extent = count * (height + GAP) - GAP
            label = shorten(dataset_label(case.dataset), extent)
            axes.text(0.1, top + extent / 2, label, rotation=90, ha="center", va="center", weight="bold")
    handles = [
        (
            Line2D([], [], color=BLACK, linewidth=2.2),
            Line2D([], [], color=TARGET_COLOUR, linewidth=1.2, linestyle=DASHES),
        ),
        Line2D(
            [], [], color=PREDICTION_COLOUR, linewidth=1.2, path_effects=[withStroke(linewidth=2.2, foreground=BLACK)]
        ),
    ]
    corner = (0.05 / total_width, 1 - 0.02 / total_height)
    names = ["target", "prediction"]
    figure.legend(handles, names, loc="upper left", ncols=2, borderaxespad=0, bbox_to_anchor=corner)
    axes.text(1.75, 0.105, "number: DSC of the case, %", va="center", **small)
    axes.imshow(sheet, extent=(0, total_width, total_height, 0), aspect="auto")
    return figure


def gallery_figure(description: str, roles: set[str], name_rows_by_case: bool = False) -> None:
    """The command line of a figure that shows the cases with ``roles`` of several galleries."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--galleries", type=json_value("--galleries", list), required=True, help="JSON list of DATASET.npz files"
    )
    add_figure_options(parser)
    arguments = parser.parse_args()
    cases = [case for path in arguments.galleries for case in read_gallery(path)]
    figure = case_grid(cases, roles, arguments.variants, arguments.labels, arguments.note, name_rows_by_case)
    save(figure, arguments.output)
