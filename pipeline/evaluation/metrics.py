"""Scores of one case at its original size: DSC, IoU, HD95 and NSD."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt
from scipy.spatial import KDTree

Mask = NDArray[np.bool_]

PERCENTILE = 95.0
TOLERANCE = 2
"""Of NSD, pixels of the original image."""
# Above this many boundary pixels per pixel of the crop, a map of all distances is quicker than a search for each of
# them in a tree.
DENSE_BOUNDARY = 0.03


@dataclass(frozen=True, slots=True)
class CaseMetrics:
    """Scores of one case.

    Attributes:
        dsc: Dice similarity coefficient, 0..1.
        iou: Intersection over union, 0..1.
        hd95: 95th percentile Hausdorff distance in pixels, 0..the image's diagonal.
        nsd: Normalised surface distance: share of both boundaries within 2 pixels of the other, 0..1.
        target_pixels: Foreground pixels of the target.
        predicted_pixels: Foreground pixels of the prediction.
    """

    dsc: float
    iou: float
    hd95: float
    nsd: float
    target_pixels: int
    predicted_pixels: int


def _boundary(mask: Mask) -> Mask:
    """Foreground pixels with a background pixel, or the image's edge, above, below, left or right."""
    boundary = mask.copy()
    if min(mask.shape) > 2:
        interior = mask[1:-1, 1:-1] & mask[:-2, 1:-1]
        interior &= mask[2:, 1:-1]
        interior &= mask[1:-1, :-2]
        interior &= mask[1:-1, 2:]
        boundary[1:-1, 1:-1] ^= interior
    return boundary


def _boundary_points(mask: Mask) -> NDArray[np.intp]:
    """Row and column of each boundary pixel of a mask that is not empty, (n, 2), in row order."""
    # The crop changes no boundary: whatever lies outside the foreground's box is background, as outside the image.
    rows = np.flatnonzero(mask.any(axis=1))
    inner = mask[rows[0] : rows[-1] + 1]
    columns = np.flatnonzero(inner.any(axis=0))
    boundary = _boundary(inner[:, columns[0] : columns[-1] + 1])
    points = np.stack(np.divmod(np.flatnonzero(boundary), boundary.shape[1]), axis=1)
    return points + np.array([rows[0], columns[0]])


def _tree(points: NDArray[np.intp]) -> KDTree:
    """A search tree, built the way that is quickest for boundaries."""
    return KDTree(points, leafsize=32, balanced_tree=False, compact_nodes=False)


def _distances(
    sources: NDArray[np.intp], destinations: NDArray[np.intp], tree: KDTree | None = None
) -> NDArray[np.float64]:
    """Distance of each point in ``sources`` to the nearest in ``destinations``; ``tree`` holds these, if given."""
    low = np.minimum(sources.min(axis=0), destinations.min(axis=0))
    shape = np.maximum(sources.max(axis=0), destinations.max(axis=0)) - low + 1
    if len(sources) > DENSE_BOUNDARY * shape.prod():
        free = np.ones(shape, bool)
        free[tuple((destinations - low).T)] = False
        return distance_transform_edt(free)[tuple((sources - low).T)]
    return (tree or _tree(destinations)).query(sources)[0]


def _percentile(distances: NDArray[np.float64]) -> float:
    """The 95th percentile, interpolated between neighbours in the single precision of ``torch.quantile``.

    In double precision HD95 would differ from MONAI's by up to 1e-4 pixels: with a thousand boundary pixels the rank
    itself, 0.95 * 999, is rounded in the fifth digit after the point.
    """
    rank = np.float32(PERCENTILE / 100) * np.float32(len(distances) - 1)
    below, above = int(np.floor(rank)), int(np.ceil(rank))
    low, high = np.partition(distances, (below, above))[[below, above]].astype(np.float32)
    weight = rank - np.float32(below)
    # The two forms are one in exact arithmetic; torch.lerp takes the one that is exact at the nearer end.
    return float(low + weight * (high - low) if weight < 0.5 else high - (high - low) * (np.float32(1) - weight))


class Target:
    """An annotated mask that any number of predictions are compared with; what depends on it alone is computed once."""

    def __init__(self, mask: Mask):
        """``mask``: (H, W), bool; may be empty.

        Raises:
            ValueError: it is no such array.
        """
        _check(mask, mask)
        self.mask = mask
        self.pixels = int(np.count_nonzero(mask))

    @cached_property
    def _boundary(self) -> tuple[NDArray[np.intp], KDTree]:
        points = _boundary_points(self.mask)
        return points, _tree(points)

    def boundary_distances(self, prediction: Mask) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Distances between the boundaries of a prediction and this target, in pixels.

        A boundary pixel is a foreground pixel that 4-connected erosion removes; pixels outside the image count as
        background (MONAI's ``get_mask_edges`` without spacing).

        Args:
            prediction: (H, W), at least one pixel set, as in the target.

        Returns:
            For each boundary pixel of the prediction the Euclidean distance to the target's nearest boundary pixel,
            and for each boundary pixel of the target the distance to the prediction's nearest.
        """
        target, tree = self._boundary
        points = _boundary_points(prediction)
        return _distances(points, target, tree), _distances(target, points)

    def dsc(self, prediction: Mask) -> float:
        """The DSC alone, 0..1, as :meth:`compare` gives it."""
        total = int(np.count_nonzero(prediction)) + self.pixels
        return 2 * int(np.count_nonzero(prediction & self.mask)) / total if total else 1.0

    def compare(self, prediction: Mask) -> CaseMetrics:
        """The scores of a predicted mask.

        HD95 is the larger of the two directed 95th percentiles (linear interpolation) of :meth:`boundary_distances`,
        the same number as ``monai.metrics.compute_hausdorff_distance(percentile=95)``. NSD (Nikolov et al., Clinically
        Applicable Segmentation of Head and Neck Anatomy, JMIR 2021) is the share of these distances that are at most
        :data:`TOLERANCE`, the same number as ``monai.metrics.compute_surface_dice``; the authors' package weights
        elements of a contour between pixels by their length instead of counting boundary pixels. Where MONAI has no
        number, this study's protocol sets one: both masks empty gives DSC = IoU = NSD = 1 and HD95 = 0; one empty gives
        DSC = IoU = NSD = 0 and HD95 = the image's diagonal, so that a missed case counts against a variant instead of
        being left out of its mean.

        Args:
            prediction: (H, W), bool.

        Returns:
            The scores; DSC, IoU and NSD in 0..1, HD95 in pixels.

        Raises:
            ValueError: the prediction is not bool, or not of the target's shape.
        """
        _check(prediction, self.mask)
        predicted = int(np.count_nonzero(prediction))
        if predicted == 0 and self.pixels == 0:
            return CaseMetrics(1.0, 1.0, 0.0, 1.0, 0, 0)
        if predicted == 0 or self.pixels == 0:
            return CaseMetrics(0.0, 0.0, float(np.hypot(*self.mask.shape)), 0.0, self.pixels, predicted)
        overlap = int(np.count_nonzero(prediction & self.mask))
        total = predicted + self.pixels
        distances = self.boundary_distances(prediction)
        near = sum(int(np.count_nonzero(way <= TOLERANCE)) for way in distances)
        nsd, hd95 = near / sum(map(len, distances)), max(map(_percentile, distances))
        return CaseMetrics(2 * overlap / total, overlap / (total - overlap), hd95, nsd, self.pixels, predicted)


def _check(prediction: Mask, target: Mask) -> None:
    if prediction.dtype != bool or target.dtype != bool:
        raise ValueError(f"masks must be bool, got {prediction.dtype} and {target.dtype}")
    if prediction.shape != target.shape or prediction.ndim != 2:
        raise ValueError(f"masks must share one shape (H, W), got {prediction.shape} and {target.shape}")


def case_metrics(prediction: Mask, target: Mask) -> CaseMetrics:
    """Compare a predicted mask with the annotated one, both (H, W) and bool: :meth:`Target.compare`."""
    return Target(target).compare(prediction)


def _nearest_exact(size: int, new_size: int) -> NDArray[np.intp]:
    # Rounded where torch rounds: a float32 scale, one rounding of the fused multiply-add, one of the last sum. In plain
    # double precision some rows land one source row off at several hundred of the sizes up to 1500.
    scale = np.float64(np.float32(size) / np.float32(new_size))
    positions = np.maximum(((np.arange(new_size) + 0.5) * scale - 0.5).astype(np.float32), np.float32(0))
    indices = np.floor(positions + np.float32(0.5)).astype(np.intp)
    return np.minimum(indices, size - 1)


def upsample_probability(probability: NDArray, height: int, width: int) -> NDArray:
    """Resize a map to the case's original size, each pixel taking its nearest neighbour's value.

    The same as ``torch.nn.functional.interpolate(mode="nearest-exact")``. No value is mixed with another, so a map
    may as well be thresholded first: the mask is the same, at an eighth of the memory.

    Args:
        probability: (h, w), probabilities (float32) or a mask (bool).
        height: Rows of the result, pixels.
        width: Columns of the result, pixels.

    Returns:
        (height, width), of the input's type.
    """
    rows = _nearest_exact(probability.shape[0], height)
    columns = _nearest_exact(probability.shape[1], width)
    # Columns first: then the many rows are copied whole.
    return np.take(np.take(probability, columns, axis=1), rows, axis=0)
