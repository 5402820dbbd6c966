"""Case metrics against literal values, MONAI, torchmetrics, surface-distance and isic-challenge-scoring."""

import dataclasses
import itertools
import math
import warnings

import numpy as np
import pytest
import surface_distance
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from isic_challenge_scoring.load_image import ImagePair
from isic_challenge_scoring.segmentation import SegmentationScore
from monai.metrics import compute_dice, compute_hausdorff_distance, compute_iou
from scipy.ndimage import gaussian_filter
from torchmetrics.functional.classification import binary_f1_score, binary_jaccard_index
from torchmetrics.functional.segmentation import hausdorff_distance

import pipeline.evaluation
from pipeline.evaluation import metrics
from pipeline.evaluation.metrics import boundary_distances, case_metrics, upsample_probability

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


@pytest.fixture(scope="module")
def pairs() -> list[tuple[np.ndarray, np.ndarray]]:
    """81 adversarial pairs and 580 random ones: unrelated, overlapping, noisy, and of other shapes down to 1 x 1."""
    shape = (HEIGHT, WIDTH)
    pairs = list(itertools.product(_adversarial(shape).values(), repeat=2))
    generator = np.random.default_rng(352)
    for index in range(520):
        target = _blob(generator, shape)
        if index % 4 == 0:
            prediction = _blob(generator, shape)
        elif index % 4 == 1:
            prediction = np.roll(target, generator.integers(-6, 7, size=2), axis=(0, 1))
        elif index % 4 == 2:
            prediction = target ^ (generator.random(shape) < 0.02)
        else:
            prediction = list(_adversarial(shape).values())[index // 4 % 9]
        pairs.append((prediction, target))
    for _ in range(60):
        small = tuple(generator.integers(1, 6, size=2))
        pairs.append((generator.random(small) < 0.5, generator.random(small) < 0.5))
    return pairs


@pytest.fixture(scope="module")
def scores(pairs) -> list[metrics.CaseMetrics]:
    return [case_metrics(prediction, target) for prediction, target in pairs]


def _tensors(prediction: np.ndarray, target: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.from_numpy(prediction)[None, None], torch.from_numpy(target)[None, None]


def _both(pair: tuple[np.ndarray, np.ndarray]) -> bool:
    return bool(pair[0].any() and pair[1].any())


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
    assert dataclasses.astuple(case_metrics(prediction, target)) == (0.4, 0.25, 2.0, 4, 6)
    prediction[1, 4] = False
    # Now (0, 0, 1, 1, 2): the 95th percentile lies 0.8 of the way from 1 to 2.
    assert case_metrics(prediction, target).hd95 == pytest.approx(1.8, abs=1e-6)


@pytest.mark.parametrize(
    ("prediction", "target", "expected"),
    [
        ("empty", "empty", (1.0, 1.0, 0.0)),
        ("empty", "pixel", (0.0, 0.0, math.hypot(HEIGHT, WIDTH))),
        ("full", "empty", (0.0, 0.0, math.hypot(HEIGHT, WIDTH))),
        ("full", "full", (1.0, 1.0, 0.0)),
        ("pixel", "corner", (0.0, 0.0, math.hypot(40 - 20, 52 - 17))),
    ],
)
def test_empty_and_full_masks(prediction, target, expected):
    masks = _adversarial((HEIGHT, WIDTH))
    result = case_metrics(masks[prediction], masks[target])
    assert (result.dsc, result.iou, result.hd95) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    ("prediction", "target", "message"),
    [
        (np.zeros((2, 3), bool), np.zeros((3, 2), bool), "share one shape"),
        (np.zeros((1, 2, 3), bool), np.zeros((1, 2, 3), bool), "share one shape"),
        (np.zeros((2, 3), np.uint8), np.zeros((2, 3), bool), "must be bool, got uint8"),
        (np.zeros((2, 3), bool), np.zeros((2, 3), np.float32), "must be bool, got bool and float32"),
    ],
)
def test_wrong_input(prediction, target, message):
    with pytest.raises(ValueError, match=message):
        case_metrics(prediction, target)


def test_monai_agrees(pairs, scores):
    finite = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MONAI warns of each empty mask
        for pair, ours in zip(pairs, scores, strict=True):
            prediction, target = _tensors(*pair)
            dsc = compute_dice(prediction.float(), target.float(), ignore_empty=False).item()
            iou = compute_iou(prediction.float(), target.float(), ignore_empty=False).item()
            hd95 = compute_hausdorff_distance(prediction, target, include_background=True, percentile=95).item()
            assert (ours.dsc, ours.iou) == pytest.approx((dsc, iou), abs=1e-6)
            if math.isfinite(hd95) and _both(pair):
                finite += 1
                # MONAI computes in float32: half a unit in the last place is 4e-6 at 64 pixels.
                assert ours.hd95 == pytest.approx(hd95, abs=1e-6, rel=1e-7)
    assert finite >= 500


def test_torchmetrics_agrees(pairs, scores):
    both = 0
    for index, (pair, ours) in enumerate(zip(pairs, scores, strict=True)):
        prediction, target = (torch.from_numpy(mask).flatten().int() for mask in pair)
        # zero_division=1 for two empty masks only, as it would also give 1 where one of them is empty.
        empty = not (pair[0].any() or pair[1].any())
        dsc = binary_f1_score(prediction, target, zero_division=float(empty)).item()
        iou = binary_jaccard_index(prediction, target).item() if not empty else 1.0
        assert (ours.dsc, ours.iou) == pytest.approx((dsc, iou), abs=1e-6)
        # torchmetrics has no percentile: the same distances, taken at 100. It is slow, and right on square images only
        # (its distance map takes the height for the width), hence the background added here, which changes nothing.
        if index % 20 == 0 and _both(pair):
            both += 1
            side = max(pair[0].shape)
            square = (np.pad(mask, [(0, side - length) for length in mask.shape]) for mask in pair)
            maximum = hausdorff_distance(*_tensors(*square), num_classes=1, include_background=True).item()
            assert max(way.max() for way in boundary_distances(*pair)) == pytest.approx(maximum, abs=1e-6, rel=1e-6)
    assert both >= 25


@pytest.mark.filterwarnings("ignore:The inplace keyword")
def test_isic_challenge_scoring_agrees(pairs, scores):
    for pair, ours in zip(pairs, scores, strict=True):
        image = ImagePair.__new__(ImagePair)  # its constructor reads files
        image.image_id = "case"
        image.prediction_image, image.truth_image = (mask.astype(np.uint8) * 255 for mask in pair)
        expected = SegmentationScore([image]).macro_average
        assert (ours.dsc, ours.iou) == pytest.approx((expected["dice"], expected["jaccard"]), abs=1e-6)


def _surface_distances(prediction: np.ndarray, target: np.ndarray) -> dict:
    # surface-distance 0.1 uses names that recent releases of numpy and scipy deprecate.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return surface_distance.compute_surface_distances(target, prediction, (1, 1))


def test_surface_distance_agrees(pairs, scores):
    """Its contour runs between pixels and its percentile weights contour elements by length, so its HD95 is a different
    quantity. Comparable are the DSC; the maximum, up to the 0.71 pixels between a contour element and its boundary
    pixel at either end; and HD95 where both contours are long, straight and parallel."""
    both = 0
    for pair, ours in zip(pairs, scores, strict=True):
        if not _both(pair):
            continue
        both += 1
        assert ours.dsc == pytest.approx(surface_distance.compute_dice_coefficient(pair[1], pair[0]), abs=1e-6)
        expected = surface_distance.compute_robust_hausdorff(_surface_distances(*pair), 100)
        maximum = max(way.max() for way in boundary_distances(*pair))
        assert abs(maximum - expected) <= math.sqrt(2) + 1e-9
    assert both >= 500
    for shift in range(1, 20):
        target, prediction = np.zeros((2, 200, 60), bool)
        target[10:190, 10:30] = True
        prediction[10:190, 10 : 30 + shift] = True
        expected = surface_distance.compute_robust_hausdorff(_surface_distances(prediction, target), 95)
        assert case_metrics(prediction, target).hd95 == pytest.approx(expected, abs=1e-6) == shift


def test_both_ways_to_measure_distances_agree(pairs, monkeypatch):
    results = {}
    for name, share in (("maps", -1.0), ("trees", 2.0)):
        monkeypatch.setattr(metrics, "DENSE_BOUNDARY", share)
        results[name] = [boundary_distances(*pair) for pair in pairs if _both(pair)]
    for maps, trees in zip(results["maps"], results["trees"], strict=True):
        for left, right in zip(maps, trees, strict=True):
            np.testing.assert_array_equal(left, right)


MASKS = st.tuples(st.integers(1, 12), st.integers(1, 12)).flatmap(
    lambda shape: st.tuples(arrays(bool, shape), arrays(bool, shape))
)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(MASKS)
def test_symmetry_and_bounds(masks):
    prediction, target = masks
    ours = case_metrics(prediction, target)
    swapped = case_metrics(target, prediction)
    assert (ours.dsc, ours.iou, ours.hd95) == (swapped.dsc, swapped.iou, swapped.hd95)
    assert 0 <= ours.iou <= ours.dsc <= 1
    assert ours.dsc == pytest.approx(2 * ours.iou / (1 + ours.iou), abs=1e-12)
    assert 0 <= ours.hd95 <= math.hypot(*target.shape)
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


# Sizes as in Kvasir-SEG, CVC-ClinicDB, ISIC 2016 and BUSI, and smaller than the prediction. Where 352 rows become 600 or
# 1200, plain double precision rounds otherwise than torch.
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
