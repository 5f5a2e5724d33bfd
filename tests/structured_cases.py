"""Models for structured pruning, in float64, and the check against the masked model."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sparsecore.pruning.structured import FilterReport, prune_filters_


def inputs(seed: int, batch: int, *shape: int) -> Tensor:
    """Return normal numbers."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, *shape, generator=generator, dtype=torch.float64)


def masked_twin(model: nn.Module, masks: Mapping[str, Tensor]) -> nn.Module:
    """Return a copy of the model with zeros where the masks have False."""
    twin = copy.deepcopy(model)
    with torch.no_grad():
        for name, mask in masks.items():
            twin.get_parameter(name).mul_(mask)
    return twin


def pruned(
    model: nn.Module,
    *shape: int,
    prune: Callable[..., FilterReport] = prune_filters_,
    **options: Any,
) -> FilterReport:
    """Prune on one input; on others, in another batch, compare with the masked original."""
    original = copy.deepcopy(model)
    report = prune(model, inputs(1, 2, *shape), **options)
    others = inputs(2, 3, *shape)
    with torch.no_grad():
        expected = masked_twin(original, report.masks)(others)
        found, before = model(others), original(others)
    # Sums of fewer than 10^4 terms of magnitude about 1, relative to the largest result.
    largest = float(expected.abs().max())
    torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-11 * largest)
    assert not torch.allclose(found, before, rtol=1e-3)
    return report


def sizes(report: FilterReport) -> dict[str, tuple[int, int]]:
    """Return (in, out) of each layer afterwards."""
    return {layer.name: layer.after for layer in report.layers}


def lost(report: FilterReport) -> dict[str, list[int]]:
    """Return what each parameter lost along its first axis, and check that slices are whole."""
    found = {}
    for name, mask in report.masks.items():
        rows = mask.flatten(1) if mask.ndim > 1 else mask[:, None]
        assert torch.equal(rows.all(1), rows.any(1))
        found[name] = (~rows.all(1)).nonzero()[:, 0].tolist()
    return found


def lowest(count: int, *weights: Tensor) -> list[int]:
    """Return the filters of least L1 norm, summed over layers that are tied."""
    sums = [sum(w[i].abs().sum().item() for w in weights) for i in range(len(weights[0]))]
    return sorted(sorted(range(len(sums)), key=lambda i: (sums[i], -i))[:count])


class Bottleneck(nn.Module):
    """Three convolutions, the shortcut a projection where `stride` is 2; `groups` as in ResNeXt."""

    def __init__(self, outer: int, inner: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        conv, norm = nn.Conv2d, nn.BatchNorm2d
        self.conv1, self.bn1 = conv(outer // stride, inner, 1, bias=False), norm(inner)
        self.conv2 = conv(inner, inner, 3, stride, 1, groups=groups, bias=False)
        self.bn2 = norm(inner)
        self.conv3, self.bn3 = conv(inner, outer, 1, bias=False), norm(outer)
        self.shortcut: nn.Module = nn.Identity()
        if stride == 2:
            projection = conv(outer // 2, outer, 1, 2, bias=False)
            self.shortcut = nn.Sequential(projection, norm(outer))

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        return F.relu(self.bn3(self.conv3(y)) + self.shortcut(x))


def bottlenecks(groups: int = 1) -> nn.Module:
    """Return a stem, two blocks, a classifier."""
    return nn.Sequential(
        *(
            nn.Conv2d(2, 6, 3, padding=1),
            Bottleneck(12, 8, 2, groups),
            Bottleneck(12, 8, 1, groups),
        ),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 3)),
    )


class DenseBlock(nn.Module):
    """Each layer reads all that came before, as in DenseNet: BatchNorm, ReLU, convolution."""

    def __init__(self) -> None:
        super().__init__()
        widths = (4, 4 + 3, 4 + 3 + 5)
        self.stem, self.fc = nn.Conv2d(2, 4, 3, padding=1), nn.Linear(12, 3)
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for width in widths)
        self.convs = nn.ModuleList([nn.Conv2d(4, 3, 3, padding=1), nn.Conv2d(7, 5, 3, padding=1)])

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for norm, conv in zip(self.norms, self.convs, strict=False):
            x = torch.cat([x, conv(F.relu(norm(x)))], 1)
        out: Tensor = self.fc(F.relu(self.norms[2](x)).mean((2, 3)))
        return out


def mobile(multiplied: bool = False) -> nn.Module:
    """Return depthwise and pointwise convolutions as in MobileNet."""
    conv, norm, relu = nn.Conv2d, nn.BatchNorm2d, nn.ReLU
    second = 12 if multiplied else 6
    return nn.Sequential(
        *(conv(2, 6, 3, padding=1, bias=False), norm(6), relu()),
        *(conv(6, second, 3, padding=1, groups=6), norm(second), nn.ReLU6()),
        *(conv(second, 4, 1), norm(4, affine=False), relu()),
        *(conv(4, 5, 1), nn.Flatten(), nn.Linear(5 * 16, 3)),
    )
