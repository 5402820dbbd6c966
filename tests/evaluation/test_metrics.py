"""Case metrics against literal values, MONAI, torchmetrics, surface-distance and isic-challenge-scoring."""

import dataclasses
import itertools
import math
from typing import NamedTuple

import numpy as np
import pytest
import surface_distance
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from isic_challenge_scoring.load_image import ImagePair
from isic_challenge_scoring.segmentation import SegmentationScore
from monai.metrics import compute_dice, compute_hausdorff_distance, compute_iou, compute_surface_dice
from scipy.ndimage import gaussian_filter
from torchmetrics.functional.classification import binary_f1_score, binary_jaccard_index
from torchmetrics.functional.segmentation import hausdorff_distance

import pipeline.evaluation
from pipeline.evaluation import metrics
from pipeline.evaluation.metrics import Target, case_metrics, upsample_probability

HEIGHT, WIDTH = 41, 53  # odd and unequal, so that swapped axes show


def _blob(generator: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    field = gaussian_filter(generator.normal(size=shape), generator.uniform(0.5, 6))
    return field > np.quantile(field, generator.uniform(0.3, 0.98))


def _adversarial(shape: tuple[int, int]) -> dict[str, np.ndarray]:
    masks = {name: np.zeros(shape, bool) for name in ("empty", "pixel", "corner", "border", "frame", "line", "ring")}
    masks["full"] = np.ones(shape, bool)
    masks["checkerboard"] = np.indices(shape).sum(axis=0) % 2 == 0
    masks["pixel"][shape[0] // 2, shape[1] // 3] = True
    masks["corner"][-1, -1] = True
    masks["border"][:5, 7:20] = True
    masks["frame"][[0, -1]] = masks["frame"][:, [0, -1]] = True
    masks["line"][:, 11] = True
    masks["ring"][5:30, 5:30] = True
    masks["ring"][8:27, 8:27] = False
    return masks


class Scored(NamedTuple):
    """A pair of masks and its scores."""

    prediction: np.ndarray
    target: np.ndarray
    ours: metrics.CaseMetrics

    def tensors(self) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.from_numpy(self.prediction)[None, None], torch.from_numpy(self.target)[None, None]

    def largest_distance(self) -> float:
        return max(way.max() for way in Target(self.target).boundary_distances(self.prediction))


@pytest.fixture(scope="module")
def pairs() -> list[Scored]:
    """81 adversarial pairs and 580 random ones: unrelated, overlapping, noisy, and of other shapes down to 1 x 1."""
    shape, generator = (HEIGHT, WIDTH), np.random.default_rng(352)
    adversarial = list(_adversarial(shape).values())
    pairs = list(itertools.product(adversarial, repeat=2))
    for index in range(130):
        targets = [_blob(generator, shape) for _ in range(4)]
        predictions = [
            _blob(generator, shape),
            np.roll(targets[1], generator.integers(-6, 7, size=2), axis=(0, 1)),
            targets[2] ^ (generator.random(shape) < 0.02),
            adversarial[index % 9],
        ]
        pairs += zip(predictions, targets, strict=True)
    for _ in range(60):
        pairs.append(tuple(generator.random((2, *generator.integers(1, 6, size=2))) < 0.5))
    return [Scored(prediction, target, case_metrics(prediction, target)) for prediction, target in pairs]


@pytest.fixture(scope="module")
def foreground(pairs) -> list[Scored]:
    """The pairs in which both masks have foreground."""
    return [pair for pair in pairs if pair.prediction.any() and pair.target.any()]


def test_the_public_name():
    assert pipeline.evaluation.case_metrics is case_metrics
    with pytest.raises(AttributeError, match="no_such"):
        _ = pipeline.evaluation.no_such


def test_literal_values():
    target = np.zeros((4, 6), bool)
    prediction = np.zeros((4, 6), bool)
    target[1:3, 1:3] = True
    prediction[1:3, 2:5] = True
    # Overlap 2 of 4 + 6. Directed distances: target (1, 1, 0, 0), prediction (0, 0, 1, 1, 2, 2).
    assert dataclasses.astuple(case_metrics(prediction, target)) == (0.4, 0.25, 2.0, 1.0, 4, 6)
    prediction[1, 4] = False
    # Now (0, 0, 1, 1, 2): the 95th percentile lies 0.8 of the way from 1 to 2.
    assert case_metrics(prediction, target).hd95 == pytest.approx(1.8, abs=1e-6)
    prediction[1, 5] = True
    # One of six boundary pixels of the prediction is 3 pixels off, so 9 of 10 are near.
    assert case_metrics(prediction, target).nsd == 0.9


@pytest.mark.parametrize(
    ("prediction", "target", "expected"),
    [
        ("empty", "empty", (1.0, 1.0, 0.0, 1.0)),
        ("empty", "pixel", (0.0, 0.0, math.hypot(HEIGHT, WIDTH), 0.0)),
        ("full", "empty", (0.0, 0.0, math.hypot(HEIGHT, WIDTH), 0.0)),
        ("full", "full", (1.0, 1.0, 0.0, 1.0)),
        ("pixel", "corner", (0.0, 0.0, math.hypot(40 - 20, 52 - 17), 0.0)),
    ],
)
def test_empty_and_full_masks(prediction, target, expected):
    masks = _adversarial((HEIGHT, WIDTH))
    result = case_metrics(masks[prediction], masks[target])
    assert (result.dsc, result.iou, result.hd95, result.nsd) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    ("prediction", "target", "message"),
    [
        (np.zeros((2, 3), bool), np.zeros((3, 2), bool), "share one shape"),
        (np.zeros((1, 2, 3), bool), np.zeros((1, 2, 3), bool), "share one shape"),
        (np.zeros((2, 3), np.uint8), np.zeros((2, 3), bool), "must be bool, got uint8"),
        (np.zeros((2, 3), bool), np.zeros((2, 3), np.float32), "must be bool, got float32"),
    ],
)
def test_wrong_input(prediction, target, message):
    with pytest.raises(ValueError, match=message):
        case_metrics(prediction, target)


@pytest.mark.filterwarnings("ignore")  # MONAI warns of each empty mask
def test_monai_agrees(pairs, foreground):
    for pair in pairs:
        masks = [mask.float() for mask in pair.tensors()]
        expected = compute_dice(*masks, ignore_empty=False).item(), compute_iou(*masks, ignore_empty=False).item()
        assert (pair.ours.dsc, pair.ours.iou) == pytest.approx(expected, abs=1e-6)
    assert len(foreground) >= 500
    for pair in foreground:
        hd95 = compute_hausdorff_distance(*pair.tensors(), include_background=True, percentile=95).item()
        # MONAI computes in float32: half a unit in the last place is 4e-6 at 64 pixels.
        assert pair.ours.hd95 == pytest.approx(hd95, abs=1e-6, rel=1e-7)
        nsd = compute_surface_dice(*pair.tensors(), [metrics.TOLERANCE], include_background=True).item()
        assert pair.ours.nsd == pytest.approx(nsd, abs=1e-6)


def test_torchmetrics_agrees(pairs, foreground):
    for pair in pairs:
        masks = [mask.flatten().int() for mask in pair.tensors()]
        # zero_division=1 for two empty masks only, as it would also give 1 where one of them is empty.
        empty = not (pair.prediction.any() or pair.target.any())
        dsc = binary_f1_score(*masks, zero_division=float(empty)).item()
        iou = binary_jaccard_index(*masks).item() if not empty else 1.0
        assert (pair.ours.dsc, pair.ours.iou) == pytest.approx((dsc, iou), abs=1e-6)
    # torchmetrics has no percentile: the same distances, taken at 100. It is slow, and right on square images only
    # (its distance map takes the height for the width), hence the background added here, which changes nothing.
    for pair in foreground[::15]:
        side = max(pair.target.shape)
        padding = [(0, side - length) for length in pair.target.shape[::-1]]
        square = (torch.nn.functional.pad(mask, (*padding[0], *padding[1])) for mask in pair.tensors())
        maximum = hausdorff_distance(*square, num_classes=1, include_background=True).item()
        assert pair.largest_distance() == pytest.approx(maximum, abs=1e-6, rel=1e-6)


@pytest.mark.filterwarnings("ignore:The inplace keyword")
def test_isic_challenge_scoring_agrees(pairs):
    for pair in pairs:
        image = ImagePair.__new__(ImagePair)  # its constructor reads files
        image.image_id = "case"
        image.prediction_image, image.truth_image = (mask.astype(np.uint8) * 255 for mask in pair[:2])
        expected = SegmentationScore([image]).macro_average
        assert (pair.ours.dsc, pair.ours.iou) == pytest.approx((expected["dice"], expected["jaccard"]), abs=1e-6)


# surface-distance 0.1 uses names that recent releases of numpy and scipy deprecate.
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_surface_distance_agrees(foreground):
    """Its contour runs between pixels and its percentile weights contour elements by length, so its HD95 is a different
    quantity. Comparable are the DSC; the maximum, up to the 0.71 pixels between a contour element and its boundary
    pixel at either end; and HD95 and NSD where both contours are long, straight and parallel."""

    def hausdorff(prediction, target, percentile):
        distances = surface_distance.compute_surface_distances(target, prediction, (1, 1))
        return surface_distance.compute_robust_hausdorff(distances, percentile)

    for pair in foreground:
        dsc = surface_distance.compute_dice_coefficient(pair.target, pair.prediction)
        assert pair.ours.dsc == pytest.approx(dsc, abs=1e-6)
        assert abs(pair.largest_distance() - hausdorff(*pair[:2], 100)) <= math.sqrt(2) + 1e-9
    for shift in range(1, 20):
        target, prediction = np.zeros((2, 200, 60), bool)
        target[10:190, 10:30] = True
        prediction[10:190, 10 : 30 + shift] = True
        expected = hausdorff(prediction, target, 95)
        assert case_metrics(prediction, target).hd95 == pytest.approx(expected, abs=1e-6) == shift
        distances = surface_distance.compute_surface_distances(target, prediction, (1, 1))
        expected = surface_distance.compute_surface_dice_at_tolerance(distances, metrics.TOLERANCE)
        assert case_metrics(prediction, target).nsd == pytest.approx(expected, abs=0.01)


def test_both_ways_to_measure_distances_agree(foreground, monkeypatch):
    results = []
    for share in (-1.0, 2.0):  # maps, trees
        monkeypatch.setattr(metrics, "DENSE_BOUNDARY", share)
        results.append([way for pair in foreground for way in Target(pair.target).boundary_distances(pair.prediction)])
    for maps, trees in zip(*results, strict=True):
        np.testing.assert_array_equal(maps, trees)


MASKS = st.tuples(st.integers(1, 12), st.integers(1, 12)).flatmap(
    lambda shape: st.tuples(arrays(bool, shape), arrays(bool, shape))
)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(MASKS)
def test_symmetry_and_bounds(masks):
    prediction, target = masks
    ours = case_metrics(prediction, target)
    swapped = case_metrics(target, prediction)
    assert (ours.dsc, ours.iou, ours.hd95, ours.nsd) == (swapped.dsc, swapped.iou, swapped.hd95, swapped.nsd)
    assert 0 <= ours.iou <= ours.dsc <= 1
    assert ours.dsc == pytest.approx(2 * ours.iou / (1 + ours.iou), abs=1e-12)
    assert 0 <= ours.hd95 <= math.hypot(*target.shape) and 0 <= ours.nsd <= 1
    assert (ours.target_pixels, ours.predicted_pixels) == (target.sum(), prediction.sum())
    assert (ours.hd95 == 0) or not np.array_equal(prediction, target)
    for moved in (np.flip(masks, 1), np.flip(masks, 2), np.swapaxes(masks, 1, 2)):
        again = case_metrics(*moved)
        assert (again.dsc, again.iou, again.hd95) == pytest.approx((ours.dsc, ours.iou, ours.hd95), abs=1e-12)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(MASKS, st.integers(0, 5), st.integers(0, 5))
def test_background_around_two_masks_changes_no_score(masks, before, after):
    if masks[0].any() and masks[1].any():
        padded = (np.pad(mask, ((before, after), (after, before))) for mask in masks)
        assert case_metrics(*padded) == case_metrics(*masks)


# Sizes as in Kvasir-SEG, CVC-ClinicDB, ISIC 2016 and BUSI, and smaller than the prediction. At 600 and 1200 double
# precision rounds otherwise than torch.
@settings(max_examples=50, deadline=None, derandomize=True)
@example(352, (530, 622))
@example(352, (288, 384))
@example(352, (2848, 4288))
@example(352, (471, 562))
@example(96, (48, 31))
@example(352, (600, 1200))
@given(st.integers(1, 400), st.tuples(st.integers(1, 1500), st.integers(1, 1500)))
def test_upsampling_is_torch_nearest_exact(size, shape):
    probability = np.random.default_rng(size).random((size, size), dtype=np.float32)
    tensor = torch.from_numpy(probability)[None, None]
    expected = torch.nn.functional.interpolate(tensor, shape, mode="nearest-exact")[0, 0].numpy()
    np.testing.assert_array_equal(upsample_probability(probability, *shape), expected)
    mask = upsample_probability(probability > 0.5, *shape)
    assert mask.dtype == bool
    np.testing.assert_array_equal(mask, expected > 0.5)
