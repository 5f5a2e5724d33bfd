"""Models for `sparsify_`, and a timer whose answers the test controls."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from linear_layers import prune_
from sparsecore.nn import CSRLinear, LayerReport, Report, Sparse24Linear
from sparsecore.timing import Timing


class FakeTimer:
    """Answer with given seconds and note what was asked. Each contender is called once.

    `layer` gives a layer's seconds by format; `model` those of the whole model, in turns: pairs of
    dense and sparse.
    """

    def __init__(
        self,
        layer: Mapping[str, float] | Callable[[Mapping[str, Any]], Mapping[str, float]],
        model: list[tuple[float, float]] | None = None,
    ) -> None:
        self.layer = layer
        self.orders = {"as given": 1.0, "channels_last": 2.0}
        self.model = itertools.cycle(model or [(2.0, 1.0)])
        self.asked: list[list[str]] = []

    def __call__(self, contenders: Mapping[str, Callable[[], object]]) -> dict[str, Timing]:
        self.asked.append(list(contenders))
        for call in contenders.values():
            call()
        if "channels_last" in contenders:
            seconds = self.orders
        elif "csr" in contenders or "2:4" in contenders:
            seconds = self.layer(contenders) if callable(self.layer) else self.layer
        else:
            seconds = dict(zip(("dense", "sparse"), next(self.model), strict=True))
        return {name: Timing(seconds[name], seconds[name], seconds[name], 1) for name in contenders}


FAST_CSR = {"dense": 3.0, "csr": 1.0, "2:4": 2.0}
FAST_24 = {"dense": 3.0, "csr": 2.0, "2:4": 1.0}
FAST_DENSE = {"dense": 1.0, "csr": 3.0, "2:4": 2.0}


def mlp(*widths: int) -> nn.Sequential:
    """Return a chain of pruned linear layers, named by their number, with ReLUs between."""
    torch.manual_seed(0)
    layers = [prune_(nn.Linear(*pair)) for pair in itertools.pairwise(widths)]
    with_relus = [module for layer in layers for module in (layer, nn.ReLU())]
    return nn.Sequential(*with_relus[:-1])


class Wrapped(nn.Module):
    """A model whose forward is the given function of the module and x."""

    def __init__(self, forward: Callable[[Any, Any], Any], **children: Any) -> None:
        super().__init__()
        for name, child in children.items():
            self.add_module(name, child)
        self.function = forward

    def forward(self, x: Any) -> Any:
        return self.function(self, x)


def of(report: Report, name: str) -> LayerReport:
    """Return what is reported of the layer with this name."""
    return next(layer for layer in report.layers if layer.name == name)


def kinds(model: nn.Module) -> list[type]:
    """Return the types of the linear layers, dense and sparse."""
    return [
        type(m) for m in model.modules() if isinstance(m, nn.Linear | CSRLinear | Sparse24Linear)
    ]
