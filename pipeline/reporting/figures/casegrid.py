"""Figure: cases by variants, images with the contours of target and prediction, and the case's DSC."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from zipfile import BadZipFile

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke

from pipeline.evaluation.readers import dataset_order
from pipeline.reporting.figures.sheet import CASING, DASHES, OUTLINE, PREDICTION_COLOUR, TARGET_COLOUR, Sheet
from pipeline.reporting.lettering import FONT_SIZE, SMALL_FONT_SIZE, line_count, shorten, text_width, wrap
from pipeline.reporting.options import label, parse_options
from pipeline.reporting.palette import BLACK
from pipeline.reporting.style import PAGE_HEIGHT, TEXT_WIDTH, footer_height, save
from pipeline.runtime.errors import PipelineError, run_command

GAP = 0.03
LEFT = 0.34
LEGEND_HEIGHT = 0.2
NUMBER_HEIGHT = 0.13
"""Inches below a picture, where a dataset has one row."""
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
                image, target = arrays[f"image_{index}"], arrays[f"target_{index}"].astype(bool)
                masks = dict(zip(variants, arrays[f"prediction_{index}"].astype(bool), strict=True))
                dsc = dict(zip(variants, map(float, scores[index]), strict=True))
                cases.append(Case(path.stem, str(name), str(role), image, target, masks, dsc))
    except (OSError, EOFError, BadZipFile, KeyError, ValueError, IndexError) as error:
        raise PipelineError(f"{path}: not a gallery ({error}); run its rule again") from None
    return cases


def _choose(cases: Sequence[Case], roles: Collection[str], variants: Sequence[str]) -> list[Case]:
    """The cases with one of ``roles``, by dataset; all have a prediction of each variant."""
    order = dataset_order(case.dataset for case in cases)
    chosen = [case for dataset in order for case in cases if case.dataset == dataset and case.role in roles]
    if not chosen:
        raise PipelineError(f"the galleries hold no case with role {' or '.join(sorted(roles))}; run their rule again")
    for case in chosen:
        missing = [variant for variant in variants if variant not in case.predictions]
        if missing:
            raise PipelineError(f"{case.dataset}: gallery lacks variant {', '.join(missing)}; run its rule again")
    return chosen


def _cell_size(columns: int, rows: int, aspect: float, used_height: float, gap: float) -> tuple[float, float]:
    """Width and height in inches of a cell such that the grid, with ``gap`` between its rows, fits the page."""
    width = min(LARGEST_CELL, (TEXT_WIDTH - LEFT) / columns - GAP)
    height = min(width / aspect, (PAGE_HEIGHT - used_height) / rows - gap)
    return height * aspect, height


def _headings(texts: Sequence[str], width: float) -> tuple[list[str], float, int]:
    """Headings of columns ``width`` inches wide, their height in inches and their rotation in degrees."""
    wrapped = [wrap(text, width, SMALL_FONT_SIZE) for text in texts]
    if all(text_width(line, SMALL_FONT_SIZE) <= width for text in wrapped for line in text.splitlines()):
        return wrapped, 0.06 + 0.12 * line_count(wrapped), 0
    short = [shorten(text, 1.3, SMALL_FONT_SIZE) for text in texts]
    return short, 0.06 + max(text_width(text, SMALL_FONT_SIZE) for text in short), 90


def case_grid(
    cases: Sequence[Case],
    roles: Collection[str],
    variants: Sequence[str],
    labels: Mapping[str, str],
    note: str = "",
) -> Figure:
    """One row a case whose role is among ``roles``, one column a variant after the bare image.

    DSC (%) stands below the pictures where each dataset has one case. Where it has several, there is room for it in
    their corners only, and rows are named by their role, or by the case if all have the same role.

    Args:
        cases: of one or several datasets.
        variants: columns, in their order.
        labels: display names of variants and datasets.

    Raises:
        PipelineError: no case has such a role, or a gallery lacks a variant.
    """
    chosen = _choose(cases, roles, variants)
    aspect = float(np.clip(np.median([case.target.shape[1] / case.target.shape[0] for case in chosen]), 0.8, 1.4))
    columns = 1 + len(variants)
    datasets = len({case.dataset for case in chosen})
    dense = len(chosen) > datasets
    breaks = GROUP_GAP * (datasets - 1) * dense
    gap = GAP if dense else GAP + NUMBER_HEIGHT
    used = LEGEND_HEIGHT + breaks + footer_height(note, SMALLEST_WIDTH)
    width, _ = _cell_size(columns, len(chosen), aspect, used + 0.5, gap)
    headings, heading_height, rotation = _headings(["Image", *(label(labels, name) for name in variants)], width)
    width, height = _cell_size(columns, len(chosen), aspect, used + heading_height, gap)
    # The legend's text needs some width even where there are few columns.
    total_width = max(LEFT + columns * (width + GAP), SMALLEST_WIDTH)
    sheet = Sheet(total_width, LEGEND_HEIGHT + heading_height + len(chosen) * (height + gap) + breaks, note)
    lefts = [LEFT + column * (width + GAP) for column in range(columns)]
    small = {"size": SMALL_FONT_SIZE}
    beside = {"rotation": 90, "ha": "center", "va": "center"}
    bottom = LEGEND_HEIGHT + heading_height
    for left, heading in zip(lefts, headings, strict=True):
        sheet.axes.text(left + width / 2, bottom - 0.03, heading, ha="center", va="bottom", rotation=rotation, **small)
    for row, case in enumerate(chosen):
        first = row == 0 or chosen[row - 1].dataset != case.dataset
        top = bottom + (GROUP_GAP if dense and first and row else 0)
        bottom = top + height + gap
        # The first column shows the bare image: what was segmented, without our lines on it.
        for left, variant in zip(lefts, [None, *variants], strict=True):
            box = sheet.place(case.image, (left, top, left + width, top + height))
            if variant is not None:
                sheet.outline(box, case.target, case.predictions[variant])
                dsc = f"{100 * case.dsc[variant]:.1f}"
                if dense:
                    white = {"color": "white", "path_effects": [withStroke(linewidth=1.6, foreground=BLACK)]}
                    sheet.axes.text(left + 0.03, top + height - 0.03, dsc, weight="bold", **white, **small)
                else:
                    sheet.axes.text(left + width / 2, top + height + 0.02, dsc, ha="center", va="top", **small)
        if dense:
            name = shorten(case.name, height, SMALL_FONT_SIZE) if len(roles) == 1 else case.role
            sheet.axes.text(0.26, top + height / 2, name, **beside, **small)
        if first:
            extent = sum(other.dataset == case.dataset for other in chosen) * (height + gap) - gap
            room, title = 0.85 * extent, label(labels, case.dataset)  # bold is wider
            wrapped = title if dense else wrap(title, room)
            size = FONT_SIZE if line_count([wrapped]) < 3 else SMALL_FONT_SIZE
            title = "\n".join(shorten(line, room, size) for line in wrapped.splitlines()[:3])
            sheet.axes.text(
                0.1 if dense else 0.17, top + extent / 2, title, weight="bold", size=size, linespacing=1, **beside
            )
    outlined = [withStroke(linewidth=CASING, foreground=BLACK)]
    target = Line2D([], [], color=TARGET_COLOUR, linewidth=OUTLINE, linestyle=DASHES)
    handles = [
        (Line2D([], [], color=BLACK, linewidth=CASING), target),
        Line2D([], [], color=PREDICTION_COLOUR, linewidth=OUTLINE, path_effects=outlined),
    ]
    sheet.legend(handles, ["target", "prediction"])
    sheet.axes.text(1.75, 0.105, "number: DSC of the case, %", va="center", **small)
    return sheet.finish()


def main() -> None:
    options = parse_options(__doc__, "results", "datasets", "variants", "roles")
    galleries = [options.results / "gallery" / f"{dataset}.npz" for dataset in options.datasets]
    cases = [case for path in galleries for case in read_gallery(path)]
    save(case_grid(cases, options.roles, options.variants, options.labels, options.note), options.output)


if __name__ == "__main__":
    run_command(main)
