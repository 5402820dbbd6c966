"""The training loss: weighted Dice and binary cross-entropy."""

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

SMOOTHING = 1e-5


def dice_bce_loss(
    logits: Tensor,
    target: Tensor,
    dice_weight: float = 1.5,
    bce_weight: float = 1.0,
    double_sigmoid: bool = False,
    weights: Tensor | None = None,
) -> Tensor:
    """``dice_weight * Dice + bce_weight * BCE``, a scalar; as MONAI's DiceCELoss with its defaults.

    Args:
        logits: (batch, 1, height, width), any floating type; computed in float32.
        target: the same shape, 0 or 1.
        double_sigmoid: binary cross-entropy of sigmoid(probability) instead, which is what the reference computes by
            handing probabilities to a loss that expects logits.
        weights: (batch,), of the cases in the mean; 1 each if absent.
    """
    logits, target = logits.float(), target.float()
    probability = torch.sigmoid(logits)
    axes = (1, 2, 3)
    intersection = (probability * target).sum(axes)
    total = probability.sum(axes) + target.sum(axes)
    dice = 1 - (2 * intersection + SMOOTHING) / (total + SMOOTHING)
    of_pixels = None
    if weights is not None:
        dice, of_pixels = weights * dice, weights[:, None, None, None]
    bce = binary_cross_entropy_with_logits(probability if double_sigmoid else logits, target, of_pixels)
    return dice_weight * dice.mean() + bce_weight * bce


def batch_dsc(logits: Tensor, target: Tensor) -> Tensor:
    """DSC of each image at the model's resolution, (batch,), 1 where target and prediction are both empty."""
    prediction, target = logits > 0, target > 0
    axes = (1, 2, 3)
    intersection = (prediction & target).sum(axes)
    total = prediction.sum(axes) + target.sum(axes)
    return torch.where(total > 0, 2 * intersection / total.clamp(min=1), 1.0)
