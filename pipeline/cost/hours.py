"""GPU hours of a training, estimated from counted FLOPs and an assumed throughput. Nothing of it is measured."""

from typing import NamedTuple

NOTE = (
    "GPU hours: an estimate for the new runs from counted FLOPs; nothing was measured. A run has {epochs}, each with "
    "all its training and validation images, at the FLOPs by image of cost.csv, on a GPU that is assumed to sustain "
    "{teraflops:g} TFLOP/s. Early stopping makes it fewer. States of frozen encoders, which are computed once, count "
    "in every epoch; scoring, loading and the time between steps do not count."
)


class ImageCost(NamedTuple):
    """FLOPs by image, in 1e9 (cost.csv): of a training step, forward and backward, and of a forward pass."""

    training_gflops: float
    inference_gflops: float


def training_hours(cost: ImageCost, train: float, val: float, epochs: int, teraflops: float) -> float:
    """Hours of one training.

    Args:
        train, val: images that an epoch trains on and validates with.
        teraflops: that the GPU sustains, 1e12 FLOPs a second.
    """
    return epochs * (train * cost.training_gflops + val * cost.inference_gflops) / (1e3 * teraflops) / 3600
