"""The estimate of GPU hours."""

import pytest

from pipeline.cost.hours import ImageCost, training_hours


def test_hours_are_flops_over_throughput():
    # Ten epochs of 800 images at 0.2 TFLOP and 100 at 0.1: 1,700 TFLOP, 50 of them a second.
    cost = ImageCost(training_gflops=200, inference_gflops=100)
    assert training_hours(cost, 800, 100, epochs=10, teraflops=50) == pytest.approx(1700 / 50 / 3600)
