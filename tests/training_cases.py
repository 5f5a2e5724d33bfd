"""Small sparse networks that train, the same each time, and the dense ones that they stand for."""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
from torch import Tensor, nn

import sparsecore as sc

OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "SGD": functools.partial(torch.optim.SGD, lr=0.05, momentum=0.9, weight_decay=1e-3),
    "Adam": functools.partial(torch.optim.Adam, lr=0.01),
    "AdamW amsgrad": functools.partial(torch.optim.AdamW, lr=0.01, amsgrad=True),
}


def dense_net(dtype: torch.dtype = torch.float64) -> nn.Sequential:
    """Two convolutions, one with groups, and two linear layers; four fifths of each are zeros."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(2, 8, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, stride=2, padding=1, dilation=2, groups=2),
        nn.Flatten(),
        nn.Linear(32, 24),
        nn.ReLU(),
        nn.Linear(24, 4),
    ).to(dtype)
    with torch.no_grad():
        for layer in (net[0], net[2], net[4], net[6]):
            layer.weight.mul_(torch.rand_like(layer.weight) < 0.2).mul_(2)
    return net


def sparse_of(net: nn.Sequential) -> nn.Sequential:
    """Return a copy whose weights are CSR; biases are copies, too."""
    made = []
    for layer in net:
        new = nn.Sequential(layer).requires_grad_(True)[0]
        if isinstance(layer, nn.Linear | nn.Conv2d):
            linear = isinstance(layer, nn.Linear)
            new = (sc.nn.CSRLinear if linear else sc.nn.CSRConv2d).from_dense(layer)
            new.bias = nn.Parameter(layer.bias.detach().clone())
        made.append(new)
    return nn.Sequential(*made)


def batch(step: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    """Return noisy images and their four classes, of the step; a channel has each bit's sign."""
    generator = torch.Generator().manual_seed(step)
    x = torch.randn(8, 2, 6, 6, generator=generator, dtype=dtype)
    y = torch.randint(4, (8,), generator=generator)
    x += (2 * torch.stack([y % 2, y // 2], dim=1) - 1)[:, :, None, None]
    return x, y


def train(
    model: nn.Module, optimizer: torch.optim.Optimizer, steps: int, *, start: int = 0
) -> list[float]:
    """Take steps and return their losses."""
    losses = []
    for step in range(start, start + steps):
        x, y = batch(step, next(model.parameters()).dtype)
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def sparse_layers(model: nn.Sequential) -> dict[str, sc.nn.CSRLinear | sc.nn.CSRConv2d]:
    return {
        name: layer
        for name, layer in model.named_modules()
        if isinstance(layer, sc.nn.CSRLinear | sc.nn.CSRConv2d)
    }


def everything(model: nn.Module, optimizer: torch.optim.Optimizer) -> list[Tensor]:
    """Return all numbers of a training: the model's tensors and the optimizer's."""
    states = [v for s in optimizer.state.values() for v in s.values() if torch.is_tensor(v)]
    return [t.clone() for t in (*model.state_dict().values(), *states)]
