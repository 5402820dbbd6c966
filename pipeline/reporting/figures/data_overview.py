"""Figure: the datasets at a glance, cases with their masks and how large the foreground is in each split.

python -m pipeline.reporting.figures.data_overview --datasets '["results/datasets/busi"]' --output results/data_overview.pdf
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from PIL import Image, UnidentifiedImageError

from pipeline.evaluation.readers import FIGURE_SUFFIXES, add_output, dataset_label, json_value, read_table
from pipeline.reporting.figures.casegrid import blank, outline_masks, paste
from pipeline.reporting.style import (
    BLUE,
    ORANGE,
    PURPLE,
    SMALL_FONT_SIZE,
    TEXT_WIDTH,
    footer_height,
    new_figure,
    save,
)
from pipeline.runtime.errors import PipelineError, run_command

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
"""Of the foreground share: the case at each is shown."""
SPLITS = {"train": (BLUE, "-"), "val": (ORANGE, "--"), "test": (PURPLE, ":")}
LONGEST_SIDE = 320
LEFT, CELL_WIDTH, CELL_HEIGHT, GAP = 0.22, 0.92, 0.74, 0.04
TOP, ROW_GAP, PLOT_MARGIN = 0.28, 0.26, 0.5


def choose_cases(cases: pd.DataFrame) -> pd.DataFrame:
    """The cases at :data:`QUANTILES` of the foreground share, among those that have foreground; ties by name."""
    filled = cases[cases["foreground"] > 0].sort_values(["share", "case"], kind="stable")
    if filled.empty:
        return filled
    places = [round(quantile * (len(filled) - 1)) for quantile in QUANTILES]
    return filled.iloc[list(dict.fromkeys(places))]


def _read_cases(folder: Path) -> pd.DataFrame:
    cases = read_table(folder / "cases.csv", ["case", "split", "image", "width", "height", "foreground"])
    if cases.empty:
        raise PipelineError(f"{folder / 'cases.csv'}: holds no case; standardise the dataset again")
    return cases.assign(case=cases["case"].astype(str), share=cases["foreground"] / (cases["width"] * cases["height"]))


def _read_image(path: Path, mode: str) -> np.ndarray:
    try:
        with Image.open(path) as image:
            image.draft(mode, (LONGEST_SIDE, LONGEST_SIDE))
            image = image.convert(mode)
            image.thumbnail(
                (LONGEST_SIDE, LONGEST_SIDE), Image.Resampling.BILINEAR if mode == "RGB" else Image.Resampling.NEAREST
            )
            return np.asarray(image)
    except (OSError, UnidentifiedImageError) as error:
        raise PipelineError(f"{path}: cannot be read ({error}); standardise the dataset again") from None


def data_overview(folders: Sequence[str | Path], note: str = "") -> Figure:
    """Draw it: one row a dataset; curves are the share of cases whose foreground is at most that large.

    Args:
        folders: ``{results}/datasets/{dataset}`` each, with cases.csv, images/ and masks/.

    Raises:
        PipelineError: a file is missing or broken.
    """
    folders = [Path(folder) for folder in folders]
    height = TOP + len(folders) * (CELL_HEIGHT + ROW_GAP) + 0.08
    figure = new_figure(TEXT_WIDTH, height, note)
    figure.set_layout_engine("none")
    total = height + footer_height(note, TEXT_WIDTH)
    canvas = figure.add_axes((0, 0, 1, 1))
    canvas.set_axis_off()
    sheet = blank(TEXT_WIDTH, total)
    plot_left = LEFT + len(QUANTILES) * (CELL_WIDTH + GAP) + PLOT_MARGIN
    for row, folder in enumerate(folders):
        cases = _read_cases(folder)
        top = TOP + row * (CELL_HEIGHT + ROW_GAP)
        centre = {"ha": "center", "va": "center"}
        canvas.text(0.1, top + CELL_HEIGHT / 2, dataset_label(folder.name), rotation=90, weight="bold", **centre)
        for column, case in enumerate(choose_cases(cases).to_dict("records")):
            picture = _read_image(folder / "images" / case["image"], "RGB")
            mask = _read_image(folder / "masks" / f"{case['case']}.png", "L") > 127
            scale = min(CELL_WIDTH / picture.shape[1], CELL_HEIGHT / picture.shape[0])
            wide, high = picture.shape[1] * scale, picture.shape[0] * scale
            left = LEFT + column * (CELL_WIDTH + GAP) + (CELL_WIDTH - wide) / 2
            upper = top + (CELL_HEIGHT - high) / 2
            box = (left, upper, left + wide, upper + high)
            paste(sheet, picture, box)
            outline_masks(canvas, box, mask)
            text = f"{100 * case['share']:.2g}%"
            middle = LEFT + column * (CELL_WIDTH + GAP) + CELL_WIDTH / 2
            canvas.text(middle, top + CELL_HEIGHT + 0.09, text, size=SMALL_FONT_SIZE, **centre)
        area = (plot_left / TEXT_WIDTH, 1 - (top + CELL_HEIGHT) / total)
        axes = figure.add_axes((*area, 1 - area[0] - 0.12 / TEXT_WIDTH, CELL_HEIGHT / total))
        for split, (colour, style) in SPLITS.items():
            shares = np.sort(100 * cases.loc[cases["split"] == split, "share"].to_numpy())
            if len(shares):
                levels = np.arange(1, len(shares) + 1) / len(shares) * 100
                axes.step([0, *shares], [0, *levels], where="post", color=colour, linestyle=style, linewidth=1)
        axes.set_ylim(0, 102)
        axes.set_yticks([0, 50, 100])
        axes.set_xlim(0, None)
        axes.locator_params(axis="x", nbins=4)
        axes.set_ylabel("Cases, %")
        axes.tick_params(pad=1.5)
        if row == len(folders) - 1:
            axes.set_xlabel("Foreground, % of the image", labelpad=1)
    quantiles = ", ".join(f"{100 * quantile:g}" for quantile in QUANTILES)
    words = f"Cases at the {quantiles}% quantiles of the foreground share, mask outlined"
    canvas.text(LEFT, 0.13, words, size=SMALL_FONT_SIZE, va="center")
    handles = [
        Line2D([], [], color=colour, linestyle=style, linewidth=1, label=split)
        for split, (colour, style) in SPLITS.items()
    ]
    corner = (1 - 0.04 / TEXT_WIDTH, 1 - 0.03 / total)
    figure.legend(
        handles=handles, loc="upper right", ncols=3, borderaxespad=0, bbox_to_anchor=corner, columnspacing=1.0
    )
    canvas.imshow(sheet, extent=(0, TEXT_WIDTH, total, 0), aspect="auto")
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--datasets", type=json_value("--datasets", list), required=True, help="JSON list of dataset folders"
    )
    add_output(parser, FIGURE_SUFFIXES)
    arguments = parser.parse_args()
    save(data_overview(arguments.datasets, arguments.note), arguments.output)


if __name__ == "__main__":
    run_command(main)
