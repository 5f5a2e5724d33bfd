"""A small network, optimizers of every kind, and training that is the same each time."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator

import torch
from torch import nn

from sparsecore.pruning import Cubic, Pruner

OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "SGD": functools.partial(torch.optim.SGD, lr=0.05, momentum=0.9, weight_decay=1e-3),
    "Adam": functools.partial(torch.optim.Adam, lr=0.01),
    "AdamW amsgrad": functools.partial(torch.optim.AdamW, lr=0.01, amsgrad=True),
    "Adam fused": functools.partial(torch.optim.Adam, lr=0.01, fused=True),
    "RMSprop": functools.partial(torch.optim.RMSprop, lr=0.01, momentum=0.9, centered=True),
}
RAMP = Cubic(begin=2, end=12, every=2)


def small_net(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 10)
    )


def train(
    model: nn.Module, optimizer: torch.optim.Optimizer, steps: int, *, start: int = 0
) -> None:
    """Take `steps` steps; the data depend on the step only, so a resumed run sees the same."""
    for step in range(start, start + steps):
        generator = torch.Generator().manual_seed(step)
        x = torch.randn(8, 1, 6, 6, generator=generator)
        y = torch.randint(10, (8,), generator=generator)
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()


def pruned_weights_and_states(
    model: nn.Module, optimizer: torch.optim.Optimizer, pruner: Pruner
) -> Iterator[tuple[torch.Tensor, list[torch.Tensor], torch.Tensor]]:
    """Yield each weight, the optimizer's numbers for its elements, and which are pruned."""
    for name, mask in pruner.masks.items():
        weight = model.get_parameter(name)
        states = [
            value
            for value in optimizer.state[weight].values()
            if torch.is_tensor(value) and value.shape == weight.shape
        ]
        yield weight, states, ~mask
