"""A figure of pictures with outlined masks, laid out in inches from its top left corner."""

from typing import Any

import numpy as np
from contourpy import contour_generator
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from pipeline.reporting.palette import BLACK, SKY, YELLOW
from pipeline.reporting.style import PNG_DPI, footer_height, new_figure

TARGET_COLOUR, PREDICTION_COLOUR = SKY, YELLOW
DASHES = (0, (2.4, 1.8))
OUTLINE, CASING = 0.7, 1.3
"""Widths in points of a border and of the black line below it, which sets it off from any picture."""

Box = tuple[float, float, float, float]
"""Left, top, right and bottom in inches from the figure's top left corner."""


def _borders(mask: np.ndarray, box: Box) -> list[np.ndarray]:
    """Borders of ``mask`` (H, W) bool as (N, 2) points, scaled to ``box``."""
    low, high = np.array(box[:2]), np.array(box[2:])
    # A rim of background closes the line where the mask touches the image's edge.
    lines = contour_generator(z=np.pad(mask, 1).astype(np.float32)).lines(0.5)
    inset = OUTLINE / 2 / 72  # along an edge, the line stays within the image
    return [np.clip(low + (line - 0.5) / mask.shape[::-1] * (high - low), low + inset, high - inset) for line in lines]


class Sheet:
    """One picture and one set of axes hold everything, which is far quicker than axes for each picture.

    ``figure`` is the figure, ``axes`` spans it in inches, ``width`` and ``height`` are its size with the footer.
    """

    def __init__(self, width: float, height: float, note: str):
        """``width`` and ``height`` in inches, without the footer that holds ``note``."""
        self.figure = new_figure(width, height, note)
        self.figure.set_layout_engine("none")
        self.width, self.height = width, height + footer_height(note, width)
        self.axes = self.figure.add_axes((0, 0, 1, 1))
        self.axes.set_axis_off()
        self._picture = Image.new("RGB", (round(self.width * PNG_DPI), round(self.height * PNG_DPI)), "white")

    def place(self, image: np.ndarray, cell: Box) -> Box:
        """Put ``image`` (H, W, 3) uint8 into the middle of ``cell``, as large as fits; returns what it covers."""
        left, top, right, bottom = cell
        scale = min((right - left) / image.shape[1], (bottom - top) / image.shape[0])
        half_width, half_height = image.shape[1] * scale / 2, image.shape[0] * scale / 2
        x, y = (left + right) / 2, (top + bottom) / 2
        box = (x - half_width, y - half_height, x + half_width, y + half_height)
        left, top, right, bottom = (round(side * PNG_DPI) for side in box)
        size = (max(1, right - left), max(1, bottom - top))
        self._picture.paste(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS), (left, top))
        return box

    def outline(self, box: Box, target: np.ndarray, prediction: np.ndarray | None = None) -> None:
        """Draw the borders of a target and, if there is one, a prediction, (H, W) bool each, into ``box``.

        The prediction is a solid line and the target a dashed one above it, so that both show where they agree.
        """
        edge = Rectangle(box[:2], box[2] - box[0], box[3] - box[1], transform=self.axes.transData)
        targets = _borders(target, box)
        layers = [(targets, BLACK, CASING, "-")]
        if prediction is None:
            layers.append((targets, TARGET_COLOUR, OUTLINE, "-"))
        else:
            predictions = _borders(prediction, box)
            layers += [(predictions, BLACK, CASING, "-"), (predictions, PREDICTION_COLOUR, OUTLINE, "-")]
            layers.append((targets, TARGET_COLOUR, OUTLINE, DASHES))
        for lines, colour, width, style in layers:
            if lines:
                drawn = LineCollection(lines, colors=colour, linewidths=width, linestyles=style, zorder=2)
                self.axes.add_collection(drawn, autolim=False)
                drawn.set_clip_path(edge)

    def legend(self, handles: list[Any], names: list[str], right: bool = False) -> None:
        """A legend of one row in the top left corner, or in the top right one."""
        x, side = (1 - 0.04 / self.width, "right") if right else (0.05 / self.width, "left")
        place = {"loc": f"upper {side}", "bbox_to_anchor": (x, 1 - 0.025 / self.height), "borderaxespad": 0}
        self.figure.legend(handles, names, ncols=len(names), columnspacing=1.2, **place)

    def finish(self) -> Figure:
        """The figure, with all pictures in it."""
        self.axes.imshow(self._picture, extent=(0, self.width, self.height, 0), aspect="auto")
        return self.figure
