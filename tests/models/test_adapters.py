"""How far the modules that variants add start from the identity."""

import pytest
import torch
from torch import nn

from pipeline.models.adapters import MaskRefinement, TelescopicAdapter, WeightedBatchNorm2d


def test_how_far_an_adapter_starts_from_the_identity():
    """SiLU shrinks, layer norm gives a vector of length sqrt(width), and rows of ``up`` start shorter than one."""
    torch.manual_seed(0)
    for features, width in ((768, 8), (768, 32), (512, 16), (128, 18)):
        adapter = TelescopicAdapter(features, width).eval()
        x = 10 * torch.randn(50, features)
        moved = (adapter(x) - x).abs().max().item()
        assert 0.01 < moved <= 0.1 * width**0.5


def test_an_adapter_is_the_authors_formula():
    """In float64: values and all gradients."""
    torch.manual_seed(0)
    adapter = TelescopicAdapter(24, 8).double().eval()
    x = torch.randn(5, 24, dtype=torch.float64, requires_grad=True)
    formula = x + adapter.scale * adapter.up(torch.nn.functional.silu(adapter.norm(adapter.down(x))))
    inputs = [x, *adapter.parameters()]
    torch.testing.assert_close(adapter(x), formula, rtol=1e-12, atol=1e-12)
    gradients = (torch.autograd.grad(value.square().sum(), inputs) for value in (adapter(x), formula))
    torch.testing.assert_close(*gradients, rtol=1e-12, atol=1e-12)


def test_how_far_refinement_starts_from_the_identity():
    """It scales a logit by 1 to 2 and so never changes its sign: the mask at 0.5 stays the same."""
    torch.manual_seed(0)
    logits = 5 * torch.randn(4, 1, 32, 32)
    factor = MaskRefinement().eval()(logits) / logits
    assert factor.min() > 1 and factor.max() < 2


@pytest.mark.parametrize("padding", [0, 3])
def test_a_batch_norm_with_weights_is_that_of_the_real_cases(padding):
    """Outputs, statistics and gradients, in float64; the repeated cases take no part."""
    own, plain = WeightedBatchNorm2d(3).double(), nn.BatchNorm2d(3).double()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for norm in (own, plain):
            norm.weight.copy_(torch.tensor([0.5, 1, 2]))
            norm.bias.copy_(torch.tensor([0.1, 0, -1]))
    x = torch.randn(4, 3, 5, 6, dtype=torch.float64, generator=generator).requires_grad_()
    filled = torch.cat([x, x[:1].expand(padding, -1, -1, -1)])
    own.weights = torch.tensor([1.0] * 4 + [0.0] * padding, dtype=torch.float64) * (len(filled) / 4)
    results = []
    for norm, given in ((own, filled), (plain, x)):
        output = norm(given)[:4]
        gradients = torch.autograd.grad(output.pow(3).sum(), [x, *norm.parameters()])
        results.append([output.detach(), *gradients, norm.running_mean, norm.running_var, norm.num_batches_tracked])
    torch.testing.assert_close(*results, rtol=1e-10, atol=1e-12)
    own.weights = None
    assert torch.equal(own(x), plain(x))
