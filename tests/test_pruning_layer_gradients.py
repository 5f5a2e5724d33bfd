"""The dense gradient by blocks of rows against that of torch's own dense layers, in float64."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest

torch = pytest.importorskip("torch")
nn = torch.nn

import sparsecore as sc  # noqa: E402
from sparsecore.pruning.layer_gradients import Tap, gradient_blocks  # noqa: E402

LAYERS = {
    "linear": lambda: nn.Linear(6, 8),
    "conv": lambda: nn.Conv2d(6, 8, 3, padding=1),
    "conv groups": lambda: nn.Conv2d(6, 8, (3, 2), stride=2, padding=(1, 0), groups=2),
    "conv dilated": lambda: nn.Conv2d(6, 6, 3, stride=(1, 2), padding=2, dilation=(2, 1), groups=6),
}


def pair_of_layers(kind: str) -> tuple[Any, Any]:
    torch.manual_seed(0)
    dense = LAYERS[kind]().double()
    with torch.no_grad():
        dense.weight.mul_(torch.rand_like(dense.weight) < 0.3)
    layers = sc.nn.CSRLinear if kind == "linear" else sc.nn.CSRConv2d
    return dense, layers.from_dense(dense)


def inputs(kind: str, n: int) -> torch.Tensor:
    return torch.randn(n, 5, 6).double() if kind == "linear" else torch.randn(n, 6, 7, 9).double()


def whole(layer: Any, pairs: Any, memory: int) -> torch.Tensor:
    blocks = list(gradient_blocks(layer, pairs, memory=memory))
    rows = [first for first, _ in blocks]
    assert rows == sorted(rows)
    entries = max(block.numel() for _, block in blocks)
    assert entries <= max(memory // 64, layer._weight_shape()[1])
    return torch.cat([block for _, block in blocks])


@pytest.mark.parametrize("memory", [1, 64 * 54 * 3, 2**22], ids=lambda m: f"{m}B")
@pytest.mark.parametrize("kind", LAYERS)
def test_micro_batches_sum_up_to_autograds_dense_gradient(kind: str, memory: int) -> None:
    dense, sparse = pair_of_layers(kind)
    tap = Tap(sparse)
    for n in (3, 2):
        x = inputs(kind, n)
        dense(x).tanh().sum().backward()
        sparse(x).tanh().sum().backward()
    found = whole(sparse, tap.take(), memory)
    # At most 5 * 63 products a sum, and the outputs, of 54, that the gradients come from: rounding
    # of (terms) eps, times magnitudes of at most 5.
    tolerance = 5 * 63 * 54 * 2.0**-52
    expected = dense.weight.grad.flatten(1)
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)
    tap.close()
    assert not sparse._forward_hooks
    assert not sparse.values._post_accumulate_grad_hooks


@pytest.mark.parametrize("to_none", [True, False])
def test_gradients_that_were_cleared_are_forgotten(to_none: bool) -> None:
    _, sparse = pair_of_layers("linear")
    optimizer = torch.optim.SGD(sparse.parameters())
    tap = Tap(sparse)
    for _ in range(2):  # the first of them is a step that was skipped
        optimizer.zero_grad(set_to_none=to_none)
        for n in (3, 2):
            sparse(inputs("linear", n)).sum().backward()
    assert [len(x) for x, _ in tap.take()] == [3, 2]


def test_a_layer_that_is_called_twice_counts_twice() -> None:
    _, sparse = pair_of_layers("linear")
    tap = Tap(sparse)
    x = inputs("linear", 1)
    (sparse(x) + sparse(2 * x)).sum().backward()
    assert torch.equal(sum(a.sum() for a, _ in tap.take()), 3 * x.sum())
    with torch.no_grad():
        sparse(x)
    assert len(tap.take()) == 2


def test_an_edited_input_is_refused() -> None:
    _, sparse = pair_of_layers("linear")
    tap, x = Tap(sparse), inputs("linear", 1)
    sparse(x).sum().backward()
    x.zero_()
    with pytest.raises(RuntimeError, match="edited in place"):
        tap.take()


def test_copies_of_a_watched_layer_keep_nothing() -> None:
    _, sparse = pair_of_layers("linear")
    tap = Tap(sparse)
    for other in (copy.deepcopy(sparse), pickle.loads(pickle.dumps(sparse))):
        other(inputs("linear", 1)).sum().backward()
        (hook,) = other._forward_hooks.values()
        assert hook is not tap
        assert not hook.pairs
    assert not tap.pairs


def test_one_image_without_a_batch() -> None:
    dense, sparse = pair_of_layers("conv")
    x = inputs("conv", 1)
    dense(x).square().sum().backward()
    y = dense(x)
    blocks = gradient_blocks(sparse, [(x[0], 2 * y.detach()[0])], memory=2**20)
    found = torch.cat([block for _, block in blocks])
    torch.testing.assert_close(found, dense.weight.grad.flatten(1), rtol=1e-12, atol=1e-12)
