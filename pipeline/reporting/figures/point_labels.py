"""Labels of single points: each beside its point, clear of everything else."""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes

from pipeline.reporting.lettering import SMALL_FONT_SIZE, text_width
from pipeline.reporting.palette import BLACK, GREY

LEADER_FROM = 8.0
"""Distance between a label and its point from which a thin line joins them, points."""
MARKER_RADIUS = 3.2


class PointLabel(NamedTuple):
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


def _overlap(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Shared area of each of ``boxes`` (N, 4) with all ``others`` (M, 4) together."""
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    return np.prod(np.clip(high - low, 0, None), axis=2).sum(axis=1)


def _inside(points: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Whether each of ``points`` (..., 2) lies in each of ``boxes`` (..., 4), shapes broadcast."""
    return ((points > boxes[..., :2]) & (points < boxes[..., 2:])).all(axis=-1)


def _along(line: np.ndarray) -> list[np.ndarray]:
    """Points along the polyline ``line`` (N, 2), at most two apart."""
    return [
        np.linspace(start, end, max(2, int(np.hypot(*(end - start)) / 2))) for start, end in itertools.pairwise(line)
    ]


def label_points(
    axes: Axes,
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

    frame = np.array([axes.get_window_extent().extents]) * scale
    anchors = in_points([(label.x, label.y) for label in labels])
    markers = np.concatenate([anchors, in_points(obstacles)])
    solid = np.concatenate([markers - MARKER_RADIUS, markers + MARKER_RADIUS], axis=1)
    dots = np.concatenate([np.empty((0, 2)), *(part for line in lines for part in _along(in_points(line)))])
    sizes = np.array([(text_width(label.text, SMALL_FONT_SIZE) * 72 + 1.5, SMALL_FONT_SIZE * 1.2) for label in labels])
    radii, angles = np.meshgrid([5.5, 9, 14, 20, 28, 38, 50], np.deg2rad(np.arange(0, 360, 15)), indexing="ij")
    radii, angles = radii.ravel(), angles.ravel()
    directions = np.stack([np.cos(angles), np.sin(angles)], axis=1)

    def cheapest(index: int, boxes: np.ndarray) -> tuple[float, np.ndarray]:
        """Cost and box of the best place of one label, the others standing at ``boxes``."""
        half = sizes[index] / 2
        # Distance is measured from the marker to the box's edge, not its centre.
        centres = anchors[index] + directions * (radii[:, None] + half * np.abs(directions))
        trials = np.concatenate([centres - half, centres + half], axis=1)
        rest = np.delete(boxes, index, axis=0)
        others = np.concatenate([np.delete(solid, index, axis=0), rest])
        crossing = np.concatenate([dots, _leaders(np.delete(anchors, index, axis=0), rest).reshape(-1, 2)])
        leader = _leaders(anchors[index], trials)
        outside = np.prod(sizes[index]) - _overlap(trials, frame)
        hits = _overlap(trials, others) + _overlap(trials, solid[[index]])
        cost = 1000 * (outside > 1e-6) + 10 * hits + radii
        cost += 8 * _inside(crossing[None], trials[:, None]).sum(axis=1)
        cost += 8 * _inside(leader[:, :, None], others[None, None]).sum(axis=(1, 2))
        # Reading order prefers the right side, then the left, then above.
        cost += 0.8 * (1 - directions[:, 0]) + 0.8 * (directions[:, 1] < -0.1)
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
        low, high = box[:2], box[2:]
        distant = np.hypot(*(anchor - np.clip(anchor, low, high))) > LEADER_FROM
        start = tuple(np.clip((anchor - low) / (high - low), 0, 1))
        line = {"arrowstyle": "-", "color": GREY, "linewidth": 0.5, "shrinkA": 0, "shrinkB": 2.5, "relpos": start}
        place = {"xytext": (low + high) / 2 - anchor, "textcoords": "offset points", "ha": "center", "va": "center"}
        style = {"fontsize": SMALL_FONT_SIZE, "color": label.colour, "arrowprops": line if distant else None}
        axes.annotate(label.text, (label.x, label.y), **place, **style).set_in_layout(False)
