"""Pruned models to export, and ONNX graphs made by hand."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

import sparsecore as sc


def prune_(model: nn.Module, *, seed: int = 0) -> nn.Module:
    """Set about half of every weight to zero."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim >= 2:
                weight.masked_fill_(torch.rand(weight.shape, generator=generator) < 0.5, 0)
    return model.eval()


def convnet() -> nn.Sequential:
    """Return a net whose BatchNorm has negative factors: it folds 0.0 into -0.0."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(4, 8, 3, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32, 8),
    )
    with torch.no_grad():
        model[1].weight.copy_(torch.linspace(-1, 1, 8))
    prune_(model)
    return model


class Attention(nn.Module):
    """What a transformer does with tokens, in few operators: tracing takes a time for each."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(16, 16) for _ in range(3))
        self.head = nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        weights = torch.softmax(self.query(x) @ self.key(x).transpose(1, 2), dim=-1)
        y: Tensor = self.head(weights @ self.value(x))
        return y


def attention() -> nn.Module:
    torch.manual_seed(0)
    return prune_(Attention())


def converted() -> tuple[nn.Sequential, Tensor]:
    """Return layers of each sparse kind, fused with what follows them, and their input."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(4, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32, 16),
        nn.ReLU(),
        nn.Linear(16, 8),
    )
    prune_(model)
    with torch.no_grad():
        model[8].weight.masked_fill_(~sc.prune_24(model[8].weight), 0)
    x = torch.rand(2, 4, 4, 4)
    choices: dict[str, Any] = {"0": "csr", "3": "csr", "6": "csr", "8": "2:4"}
    sc.nn.sparsify_(model, x, policy=choices, trainable=False)
    return model, x
