"""The modules that variants add to CLIPSeg. Each maps (..., features) to (..., features), or gives tokens."""

import torch
from torch import Tensor, nn


class TelescopicAdapter(nn.Module):
    """``x + scale * up(dropout(silu(layer_norm(down(x)))))``, the authors' released module.

    Args:
        features: size of the last axis of the input.
        width: bottleneck width.
        alpha: start of the residual scale.
        learned: whether the scale is a parameter (one scalar) or fixed.
        dropout: probability inside the bottleneck.
    """

    def __init__(self, features: int, width: int, alpha: float = 0.1, learned: bool = True, dropout: float = 0.1):
        super().__init__()
        self.down = nn.Linear(features, width, bias=False)
        self.norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)
        self.up = nn.Linear(width, features, bias=False)
        scale = torch.full((1,), float(alpha))
        if learned:
            self.scale = nn.Parameter(scale)
        else:
            self.register_buffer("scale", scale)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.dropout(nn.functional.silu(self.norm(self.down(x))))
        # The scale on the small matrix: on the output it would be a kernel more, and one more tensor kept.
        return x + nn.functional.linear(hidden, self.scale * self.up.weight)


class VlsmAdapter(nn.Module):
    """``x + relu(fc2(relu(fc1(x))))`` with biases, the module of VLSM-Adapter."""

    def __init__(self, features: int, width: int):
        super().__init__()
        self.fc1 = nn.Linear(features, width)
        self.fc2 = nn.Linear(width, features)

    def forward(self, x: Tensor) -> Tensor:
        return x + nn.functional.relu(self.fc2(nn.functional.relu(self.fc1(x))))


class WeightedBatchNorm2d(nn.BatchNorm2d):
    """Batch norm that knows of padded batches.

    Attributes:
        weights: (batch,), of the cases in the statistics of training, with mean 1 and equal but for those that are 0
            (padding); 1 each if absent.
    """

    weights: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        if self.weights is None or not self.training:
            return super().forward(x)
        axes, weights = (0, 2, 3), self.weights[:, None, None, None]
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        mean = (weights * wide).mean(axes)
        centred = wide - mean[:, None, None]
        variance = (weights * centred.square()).mean(axes)
        with torch.no_grad():
            count = (weights > 0).sum() * x[0, 0].numel()
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * count / (count - 1), self.momentum)
            self.num_batches_tracked.add_(1)
        scale = self.weight * (variance + self.eps).rsqrt()
        return (centred * scale[:, None, None] + self.bias[:, None, None]).to(x.dtype)


class MaskRefinement(nn.Module):
    """``logits + sigmoid(cnn(logits)) * logits`` on (batch, 1, height, width); 48 parameters (authors' release)."""

    def __init__(self, channels: int = 4):
        super().__init__()
        self.cnn = nn.Sequential(
            nn.Conv2d(1, channels, 3, padding=1, bias=False),
            WeightedBatchNorm2d(channels),
            nn.SiLU(),
            nn.Conv2d(channels, 1, 1, bias=False),
        )

    def forward(self, logits: Tensor) -> Tensor:
        return logits + torch.sigmoid(self.cnn(logits)) * logits


class PromptTokens(nn.Module):
    """Learned tokens, given to every element of a batch of states (batch, tokens, features).

    Args:
        bound: where given, the start is uniform in [-bound, bound]; normal with standard deviation 0.02 otherwise.
    """

    def __init__(self, count: int, features: int, bound: float | None = None):
        super().__init__()
        self.tokens = nn.Parameter(torch.empty(count, features))
        if bound is None:
            nn.init.normal_(self.tokens, std=0.02)
        else:
            nn.init.uniform_(self.tokens, -bound, bound)

    def __len__(self) -> int:
        return len(self.tokens)

    def forward(self, x: Tensor) -> Tensor:
        return self.tokens.expand(len(x), -1, -1)


class ScaleShift(nn.Module):
    """``scale * x + shift``, by feature; starts as the identity."""

    def __init__(self, features: int):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(features))
        self.shift = nn.Parameter(torch.zeros(features))

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * x + self.shift


class Bottleneck(nn.Module):
    """``[x +] scale * up(activation(down(x)))`` with biases.

    Args:
        features: size of the last axis of the input.
        width: bottleneck width.
        activation: ``relu`` or ``gelu``.
        residual: whether the input is added.
        start: standard deviation of both matrices at the start; if absent, ``up`` is zero, so that the sum is too.
    """

    def __init__(
        self,
        features: int,
        width: int,
        activation: str = "relu",
        scale: float = 1.0,
        residual: bool = True,
        start: float | None = None,
    ):
        super().__init__()
        self.down, self.up = nn.Linear(features, width), nn.Linear(width, features)
        self.activation, self.scale, self.residual = getattr(nn.functional, activation), scale, residual
        for layer in (self.down, self.up):
            nn.init.zeros_(layer.bias)
            if start is not None:
                nn.init.trunc_normal_(layer.weight, std=start, a=-2 * start, b=2 * start)
        if start is None:
            nn.init.zeros_(self.up.weight)

    def forward(self, x: Tensor) -> Tensor:
        change = self.scale * self.up(self.activation(self.down(x)))
        return x + change if self.residual else change


class KroneckerRules(nn.Module):
    """The first factors of Kronecker products, (products, products, products), which many weights share."""

    def __init__(self, products: int):
        super().__init__()
        self.matrices = nn.Parameter(torch.randn(products, products, products) / products)


class KroneckerLinear(nn.Module):
    """``x @ weight + bias``, the weight being the sum over i of kron(rules[i], left[i] @ right[i])."""

    def __init__(self, inputs: int, outputs: int, rules: KroneckerRules, rank: int):
        super().__init__()
        products = len(rules.matrices)
        if inputs % products or outputs % products:
            raise ValueError(f"{inputs} to {outputs} features cannot be divided by {products} Kronecker products")
        self.rules = rules
        self.left = nn.Parameter(torch.empty(products, inputs // products, rank))
        self.right = nn.Parameter(torch.empty(products, rank, outputs // products))
        self.bias = nn.Parameter(torch.zeros(outputs))
        # As many terms as an output sums: it starts with the input's variance.
        nn.init.normal_(self.left, std=(products / inputs) ** 0.5)
        nn.init.normal_(self.right, std=rank**-0.5)

    def forward(self, x: Tensor) -> Tensor:
        factors = (self.rules.matrices, self.left, self.right)
        weight = torch.einsum("iab,ipr,irq->apbq", *factors).flatten(2).flatten(0, 1)
        return x @ weight + self.bias


class KroneckerBottleneck(nn.Module):
    """``x + up(gelu(down(x)))`` of :class:`KroneckerLinear`; starts as the identity."""

    def __init__(self, features: int, width: int, rules: KroneckerRules, rank: int = 1):
        super().__init__()
        self.down = KroneckerLinear(features, width, rules, rank)
        self.up = KroneckerLinear(width, features, rules, rank)
        nn.init.zeros_(self.up.right)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.up(nn.functional.gelu(self.down(x)))
