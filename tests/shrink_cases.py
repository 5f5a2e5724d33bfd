"""Models for `shrink_`, in float64, and the check that one still computes the same."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sparsecore.nn import ShrinkReport, shrink_


def zero(layer: Any, *units: int) -> None:
    """Make units of a layer dead."""
    with torch.no_grad():
        layer.weight[list(units)] = 0


def unread(layer: Any, *channels: int) -> None:
    """Have a layer multiply channels of its input by zero."""
    with torch.no_grad():
        layer.weight[:, list(channels)] = 0


def seeded(model: nn.Module) -> nn.Module:
    """Return a model in float64 and evaluation mode, nothing in its BatchNorms trivial."""
    generator = torch.Generator().manual_seed(0)
    for tensor in [*model.parameters(), *model.buffers()]:
        if tensor.is_floating_point():
            tensor.data = torch.rand(tensor.shape, generator=generator, dtype=torch.float64) - 0.4
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d):
            module.running_var = module.running_var.abs() + 0.5
    return model.double().eval()


def shrunk(model: nn.Module, *shape: int) -> ShrinkReport:
    """Shrink on one input and compare the outputs of others, in another batch, before and after."""
    generator = torch.Generator().manual_seed(1)
    example = torch.randn(2, *shape, generator=generator, dtype=torch.float64)
    others = torch.randn(3, *shape, generator=generator, dtype=torch.float64)
    with torch.no_grad():
        expected = model(others)
        report = shrink_(model, example)
        found = model(others)
    # Sums of fewer than 10^4 terms of magnitude about 1.
    torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-11)
    return report


def sizes(report: ShrinkReport) -> dict[str, tuple[int, int]]:
    """Return (in, out) of each layer afterwards."""
    return {layer.name: layer.after for layer in report.layers}


def reasons(report: ShrinkReport) -> dict[tuple[str, int], str]:
    """Return why each dead unit stays."""
    return {(dead.layer, unit): dead.why for dead in report.left for unit in dead.units}


class ConvNet(nn.Module):
    """Two convolutions, the second one's picture flattened."""

    def __init__(self, padding: int = 1) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(2, 6, 3, padding=padding), nn.BatchNorm2d(6)
        self.conv2, self.bn2 = nn.Conv2d(6, 5, 3, padding=padding, bias=False), nn.BatchNorm2d(5)
        side = (8 - (0 if padding else 4)) // 2
        self.fc = nn.Linear(5 * side * side, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = F.silu(self.bn1(self.conv1(x)))
        x = F.max_pool2d(F.relu(self.bn2(self.conv2(x))), 2)
        out: Tensor = self.fc(torch.flatten(x, 1))
        return out


class Block(nn.Module):
    """Two convolutions and what goes past them, through a third where the width changes."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(outputs), nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.project: nn.Module = nn.Identity()
        if inputs != outputs:
            shortcut = nn.Conv2d(inputs, outputs, 1, bias=False)
            self.project = nn.Sequential(shortcut, nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + self.project(x))


class Residual(nn.Module):
    """A stem and basic blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(2, 4, 3, padding=1)
        self.blocks = nn.Sequential(Block(4, 4), Block(4, 6), Block(6, 6))
        self.fc = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.fc(self.blocks(self.stem(x)).mean((2, 3)))
        return out


def negative_bias(norms: Iterable[Any], channel: int) -> None:
    """Have BatchNorms give less than zero for a channel that is zero, so that ReLU ends it."""
    with torch.no_grad():
        for norm in norms:
            norm.bias[channel], norm.running_mean[channel] = -1.0, 0.0
