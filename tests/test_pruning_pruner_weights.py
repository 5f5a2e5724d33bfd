"""Pruner: weights that are tied, views, of other dtypes, or get infinite gradients."""

from __future__ import annotations

import math
from typing import Any

import pytest

from sparsecore import pruning

torch = pytest.importorskip("torch")
nn = torch.nn

from pruner_cases import OPTIMIZERS  # noqa: E402


def test_tied_weights_are_pruned_once() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding(6, 4)
            self.inner = nn.Linear(4, 4, bias=False)
            self.head = nn.Linear(4, 6, bias=False)
            self.head.weight = self.table.weight
            self.again = nn.Linear(4, 4, bias=False)
            self.again.weight = self.inner.weight

    model = Tied()
    optimizer = OPTIMIZERS["SGD"](model.parameters())
    pruner = pruning.Pruner(model, sparsity=0.5, optimizer=optimizer)
    assert pruner.kept() == {"inner.weight": 8, "head.weight": 12}
    for _ in range(2):
        optimizer.zero_grad()
        model.head(model.again(model.table(torch.arange(6)))).square().sum().backward()
        optimizer.step()
    assert model.head.weight is model.table.weight
    assert int(torch.count_nonzero(model.table.weight)) == 12


def test_weights_that_are_views_of_one_buffer() -> None:
    flat = torch.randn(24, generator=torch.Generator().manual_seed(0))
    model = nn.Sequential(nn.Linear(4, 3, bias=False), nn.Linear(3, 4, bias=False))
    model[0].weight = nn.Parameter(flat[:12].view(3, 4))
    model[1].weight = nn.Parameter(flat[12:].view(3, 4).t())
    optimizer = OPTIMIZERS["Adam"](model.parameters())
    pruner = pruning.Pruner(model, sparsity=0.5, optimizer=optimizer)
    for _ in range(2):
        optimizer.zero_grad()
        model(torch.ones(2, 4)).square().sum().backward()
        optimizer.step()
    assert pruner.kept() == {"0.weight": 6, "1.weight": 6}
    assert int(torch.count_nonzero(flat)) == 12


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_other_dtypes(dtype: Any) -> None:
    model = nn.Linear(16, 8).to(dtype)
    optimizer = OPTIMIZERS["SGD"](model.parameters())
    pruner = pruning.Pruner(model, sparsity=0.75, optimizer=optimizer)
    model(torch.ones(2, 16, dtype=dtype)).sum().backward()
    optimizer.step()
    assert pruner.kept() == {"weight": 32}
    assert int(torch.count_nonzero(model.weight)) == 32


def test_pruned_weights_are_plus_zero_even_if_they_were_infinite_gradients() -> None:
    model = nn.Linear(4, 1, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[-1.0, -2.0, 3.0, 4.0]]))
    optimizer = OPTIMIZERS["SGD"](model.parameters())
    pruning.Pruner(model, sparsity=0.5, optimizer=optimizer)
    model.weight.grad = torch.tensor([[math.inf, math.nan, 0.0, 0.0]])
    optimizer.step()
    assert model.weight[0, :2].tolist() == [0.0, 0.0]
    assert not bool(model.weight.signbit()[0, :2].any())
