"""Figure: the datasets at a glance, cases with their masks and how large the foreground is in each split."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from PIL import Image, UnidentifiedImageError

from pipeline.evaluation.readers import read_table
from pipeline.reporting.figures.panels import wrapped_labels
from pipeline.reporting.figures.sheet import Sheet
from pipeline.reporting.lettering import SMALL_FONT_SIZE, line_count
from pipeline.reporting.options import parse_options
from pipeline.reporting.palette import BLUE, ORANGE, PURPLE
from pipeline.reporting.style import TEXT_WIDTH, save
from pipeline.runtime.errors import PipelineError, run_command

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
"""Of the foreground share: the case at each is shown."""
SPLITS = {"train": (BLUE, "-"), "val": (ORANGE, "--"), "test": (PURPLE, ":")}
LONGEST_SIDE = 320
CELL_WIDTH, CELL_HEIGHT, GAP = 0.92, 0.74, 0.04
TOP, ROW_GAP, PLOT_MARGIN = 0.28, 0.26, 0.5
COLUMNS = ["case", "split", "image", "width", "height", "foreground"]


def choose_cases(cases: pd.DataFrame) -> pd.DataFrame:
    """The cases at :data:`QUANTILES` of the foreground share, among those that have foreground; ties by name."""
    filled = cases[cases["foreground"] > 0].sort_values(["share", "case"], kind="stable")
    places = [round(quantile * (len(filled) - 1)) for quantile in QUANTILES] if len(filled) else []
    return filled.iloc[list(dict.fromkeys(places))]


def read_shares(folder: Path) -> pd.DataFrame:
    """cases.csv of a dataset's ``folder`` with the column share, foreground pixels by all pixels (0..1).

    Raises:
        PipelineError: the file is missing or broken.
    """
    cases = read_table(folder / "cases.csv", COLUMNS)
    return cases.assign(case=cases["case"].astype(str), share=cases["foreground"] / (cases["width"] * cases["height"]))


def _read_image(path: Path, mode: str) -> np.ndarray:
    resampling = Image.Resampling.BILINEAR if mode == "RGB" else Image.Resampling.NEAREST
    try:
        with Image.open(path) as image:
            image.draft(mode, (LONGEST_SIDE, LONGEST_SIDE))
            image = image.convert(mode)
            image.thumbnail((LONGEST_SIDE, LONGEST_SIDE), resampling)
            return np.asarray(image)
    except (OSError, UnidentifiedImageError) as error:
        raise PipelineError(f"{path}: cannot be read ({error}); standardise the dataset again") from None


def _draw_shares(axes: Axes, cases: pd.DataFrame) -> None:
    """The share of each split's cases (%) whose foreground takes at most so much of the image (%)."""
    for split, (colour, style) in SPLITS.items():
        shares = np.sort(100 * cases.loc[cases["split"] == split, "share"].to_numpy())
        if len(shares):
            levels = np.arange(1, len(shares) + 1) / len(shares) * 100
            axes.step([0, *shares], [0, *levels], where="post", color=colour, linestyle=style, linewidth=1)
    axes.set(xlim=(0, None), ylim=(0, 102), yticks=[0, 50, 100], ylabel="Cases, %")
    axes.locator_params(axis="x", nbins=4)
    axes.tick_params(pad=1.5)


def data_overview(results: Path, datasets: Sequence[str], labels: Mapping[str, str], note: str = "") -> Figure:
    """One row a dataset: cases with their masks outlined, and how the foreground's share of the image is distributed.

    Args:
        results: holds ``datasets/{dataset}`` with cases.csv, images/ and masks/.
        datasets: rows from top to bottom.
        labels: display names of datasets.

    Raises:
        PipelineError: a file is missing or broken.
    """
    titles = wrapped_labels(labels, datasets, 0.85 * (CELL_HEIGHT + ROW_GAP))  # bold is wider
    left = 0.1 + 0.12 * line_count(titles)
    sheet = Sheet(TEXT_WIDTH, TOP + len(datasets) * (CELL_HEIGHT + ROW_GAP) + 0.08, note)
    centred = {"ha": "center", "va": "center"}
    for row, (dataset, title) in enumerate(zip(datasets, titles, strict=True)):
        folder = results / "datasets" / dataset
        cases = read_shares(folder)
        top = TOP + row * (CELL_HEIGHT + ROW_GAP)
        bottom = top + CELL_HEIGHT
        sheet.axes.text(left / 2 - 0.01, top + CELL_HEIGHT / 2, title, rotation=90, weight="bold", **centred)
        for column, case in enumerate(choose_cases(cases).to_dict("records")):
            picture = _read_image(folder / "images" / case["image"], "RGB")
            mask = _read_image(folder / "masks" / f"{case['case']}.png", "L") > 127
            start = left + column * (CELL_WIDTH + GAP)
            box = sheet.place(picture, (start, top, start + CELL_WIDTH, bottom))
            sheet.outline(box, mask)
            share = f"{100 * case['share']:.2g}%"
            sheet.axes.text(start + CELL_WIDTH / 2, bottom + 0.09, share, size=SMALL_FONT_SIZE, **centred)
        x = left + len(QUANTILES) * (CELL_WIDTH + GAP) + PLOT_MARGIN
        size = (1 - (x + 0.12) / sheet.width, CELL_HEIGHT / sheet.height)
        axes = sheet.figure.add_axes((x / sheet.width, 1 - bottom / sheet.height, *size))
        _draw_shares(axes, cases)
    axes.set_xlabel("Foreground, % of the image", labelpad=1, loc="right")
    quantiles = ", ".join(f"{100 * quantile:g}" for quantile in QUANTILES)
    words = f"Cases at the {quantiles}% quantiles of the foreground share, mask outlined"
    sheet.axes.text(left, 0.13, words, size=SMALL_FONT_SIZE, va="center")
    handles = [Line2D([], [], color=colour, linestyle=style, linewidth=1) for colour, style in SPLITS.values()]
    sheet.legend(handles, list(SPLITS), right=True)
    return sheet.finish()


def main() -> None:
    options = parse_options(__doc__, "results", "datasets")
    save(data_overview(options.results, options.datasets, options.labels, options.note), options.output)


if __name__ == "__main__":
    run_command(main)
