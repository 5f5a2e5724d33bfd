"""A net whose loss is also written out as a formula, and a net with everything."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

Weights = dict[str, Tensor]
# What a score of a model is called as, beyond its weights.
Batches = list[tuple[Any, Any]]


def two_layers(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 3)).double()


def named(model: nn.Module) -> Weights:
    """Return the weights that scores are asked for: all but biases and BatchNorm's."""
    return {name: p for name, p in model.named_parameters() if p.ndim > 1}


def samples(count: int, seed: int = 1) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count, 3, dtype=torch.float64, generator=generator)
    return x, torch.randint(3, (count,), generator=generator)


def cut(data: tuple[Tensor, Tensor], *sizes: int) -> Batches:
    return list(zip(data[0].split(sizes), data[1].split(sizes), strict=True))


def written_out(
    model: nn.Module, data: tuple[Tensor, Tensor], *, temperature: float = 1.0, hidden: Any = 1.0
) -> tuple[Callable[[Tensor], Tensor], Tensor]:
    """Return the mean cross entropy of `two_layers` as a function of its flat weights, and these.

    The weights are those of `named`, joined; what the first layer gives is multiplied by `hidden`.
    """
    x, y = data
    first, last = model[0], model[-1]  # type: ignore[index]

    def loss(flat: Tensor) -> Tensor:
        a, b = flat[:12].reshape(4, 3), flat[12:].reshape(3, 4)
        inner = torch.tanh(x @ a.T + first.bias) * hidden
        logits = (inner @ b.T + last.bias) / temperature
        log_sum = logits.exp().sum(1).log()
        return (log_sum - logits[torch.arange(len(y)), y]).mean()

    return loss, joined(named(model))


def joined(arrays: Weights) -> Tensor:
    return torch.cat([a.detach().reshape(-1) for a in arrays.values()])


class Everything(nn.Module):
    """Convolution, BatchNorm, dropout, a weight under two names, keyword inputs."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(2, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.drop = nn.Dropout(0.5)
        self.wide = nn.Linear(4, 4)
        self.tied = nn.Linear(4, 4, bias=False)
        self.tied.weight = self.wide.weight
        self.head = nn.Linear(4, 3)
        self.modes: list[bool] = []

    def forward(self, image: Tensor, scale: Tensor | None = None) -> Tensor:
        self.modes.append(self.norm.training)
        x = torch.relu(self.norm(self.conv(image)))
        x = nn.functional.avg_pool2d(x, 4).flatten(1)
        x = self.tied(torch.relu(self.drop(self.wide(x))))
        return self.head(x if scale is None else x * scale)


def images(count: int = 6, seed: int = 2) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count, 2, 4, 4, generator=generator)
    return x, torch.randint(3, (count,), generator=generator)
