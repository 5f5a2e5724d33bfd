"""Layers that end with an activation: in the product, or torch's own where a gradient is kept."""

import pytest

torch = pytest.importorskip("torch")

import torch.nn.functional as F  # noqa: E402
from torch import nn  # noqa: E402

import conv_layers  # noqa: E402
import linear_layers  # noqa: E402
from sparsecore.nn import CSRConv2d, CSRLinear  # noqa: E402

ACTIVATIONS = {"relu": F.relu, "gelu": F.gelu, "silu": F.silu}
# Two products of at most 40 terms, and activations good to 4e-7: torch's own float32 is no better.
CLOSE = {"rtol": 0, "atol": 3e-5}


def made(kind, activation, dtype):
    """Return a dense layer, the sparse one in its place, an input and a residual."""
    if kind == "linear":
        dense = linear_layers.prune_(nn.Linear(40, 19, dtype=dtype))
        layer, x = CSRLinear.from_dense(dense), torch.randn(7, 40, dtype=dtype)
    else:
        dense = conv_layers.pruned(dtype=dtype, padding=1)
        layer, x = CSRConv2d.from_dense(dense), conv_layers.images(dtype=dtype)
    layer.activation = activation
    return dense, layer, x, torch.randn_like(dense(x).detach())


@pytest.mark.parametrize("prepared", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("kind", ["linear", "conv2d"])
def test_values_and_gradients(kind, activation, dtype, prepared):
    dense, layer, x, residual = made(kind, activation, dtype)
    if prepared:
        layer.prepare_()
    function = ACTIVATIONS[activation]
    wanted = function(dense(x.double().to(dtype)) + residual)
    with torch.no_grad():
        torch.testing.assert_close(layer(x, residual), wanted.detach(), **CLOSE)
    x1, x2 = x.clone().requires_grad_(), x.clone().requires_grad_()
    y, y2 = layer(x1, residual), function(dense(x2) + residual)
    torch.testing.assert_close(y, y2, **CLOSE)
    (dx,), (dx2,) = (
        torch.autograd.grad(y.square().sum(), x1),
        torch.autograd.grad(y2.square().sum(), x2),
    )
    torch.testing.assert_close(dx, dx2, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("activation", ["gelu", "silu"])
def test_float32_activations_are_the_products_own(activation, monkeypatch):
    """Without gradients no second pass over the result is made."""
    _, layer, x, residual = made("conv2d", activation, torch.float32)

    def refused(*_, **__):
        raise AssertionError

    monkeypatch.setattr(F, activation, refused)
    with torch.no_grad():
        layer(x, residual)
    with pytest.raises(AssertionError):
        layer(x, residual)  # recorded: by torch's own
