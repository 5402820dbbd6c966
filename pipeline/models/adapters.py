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
        return x + self.scale * self.up(self.dropout(nn.functional.silu(self.norm(self.down(x)))))


class VlsmAdapter(nn.Module):
    """``x + relu(fc2(relu(fc1(x))))`` with biases, the module of VLSM-Adapter."""

    def __init__(self, features: int, width: int):
        super().__init__()
        self.fc1 = nn.Linear(features, width)
        self.fc2 = nn.Linear(width, features)

    def forward(self, x: Tensor) -> Tensor:
        return x + nn.functional.relu(self.fc2(nn.functional.relu(self.fc1(x))))


class MaskRefinement(nn.Module):
    """``logits + sigmoid(cnn(logits)) * logits`` on (batch, 1, height, width); 48 parameters (authors' release)."""

    def __init__(self, channels: int = 4):
        super().__init__()
        self.cnn = nn.Sequential(
            nn.Conv2d(1, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
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
