"""The loss against MONAI's, and the DSC that chooses epochs."""

import pytest
import torch
from monai.losses import DiceCELoss

from pipeline.training.loss import batch_dsc, dice_bce_loss


@pytest.mark.parametrize("double_sigmoid", [False, True])
def test_loss_equals_monai(double_sigmoid):
    torch.manual_seed(0)
    logits = torch.randn(5, 1, 24, 20) * 4
    target = (torch.rand(5, 1, 24, 20) > 0.7).float()
    target[2] = 0
    # The reference hands probabilities to the loss, which then applies no sigmoid in Dice but one in its BCE part.
    oracle = DiceCELoss(sigmoid=not double_sigmoid, lambda_dice=1.5, lambda_ce=1.0)
    expected = oracle(torch.sigmoid(logits) if double_sigmoid else logits, target)
    assert dice_bce_loss(logits, target, double_sigmoid=double_sigmoid).item() == pytest.approx(
        expected.item(), abs=1e-6
    )


def test_batch_dsc_counts_empty_pairs_as_one():
    logits = torch.full((4, 1, 2, 2), -1.0)
    target = torch.zeros(4, 1, 2, 2)
    logits[1, 0, 0, 0] = 1.0
    target[2, 0, 0, 0] = 1.0
    logits[3, 0, 0], target[3, 0, :, 0] = 1.0, 1.0
    assert batch_dsc(logits, target).tolist() == [1.0, 0.0, 0.0, 0.5]
