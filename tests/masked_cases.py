"""Masks of dense weights for dynamic sparse training, and a weight of eight elements."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from training_cases import OPTIMIZERS

ALL_OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    **OPTIMIZERS,
    "SGD foreach": functools.partial(torch.optim.SGD, lr=0.05, momentum=0.9, foreach=True),
    "AdamW fused": functools.partial(torch.optim.AdamW, lr=0.01, fused=True),
    "Adafactor": functools.partial(torch.optim.Adafactor, lr=0.05),
}


def masks_of(net: nn.Module) -> dict[str, Tensor]:
    """Return where the weights of a network with zeros are not zero."""
    weights = {n: p for n, p in net.named_parameters() if n.endswith("weight")}
    return {name: weight.detach() != 0 for name, weight in weights.items()}


def row_of(values: Sequence[float]) -> nn.Linear:
    """Return a linear layer whose weight is one row of float64."""
    layer = nn.Linear(len(values), 1, bias=False).double()
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([values], dtype=torch.float64))
    return layer


def row_mask(mask: Sequence[int]) -> dict[str, Tensor]:
    return {"weight": torch.tensor([mask], dtype=torch.bool)}


def step_with(
    optimizer: torch.optim.Optimizer, layer: nn.Linear, gradient: Sequence[float]
) -> None:
    """Take a step with this gradient of the weight."""
    layer.weight.grad = torch.tensor([gradient], dtype=torch.float64)
    optimizer.step()


def states_of(optimizer: torch.optim.Optimizer, weight: Tensor) -> list[Tensor]:
    """Return the optimizer's numbers for the elements of a weight."""
    values: Any = optimizer.state[weight].values()
    return [v for v in values if torch.is_tensor(v) and v.shape == weight.shape]
