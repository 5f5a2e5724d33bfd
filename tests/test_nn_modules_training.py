"""nn/modules.py: gradients of the sparse layers, and optimizer steps."""

import copy
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from linear_layers import KINDS, check_forward, generator, pruned_24  # noqa: E402


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_those_of_the_dense_layer_at_the_stored_positions(kind: Any) -> None:
    linear = pruned_24(12, 5, dtype=torch.float64)
    layer = kind.from_dense(linear)
    layer.bias = nn.Parameter(linear.bias.detach().clone())
    x = torch.randn(2, 3, 12, dtype=torch.float64, generator=generator(1))
    inputs = [x.clone().requires_grad_() for _ in range(2)]
    for module, z in zip((linear, layer), inputs, strict=True):
        module(z).pow(2).sum().backward()
    # Sums of at most 12 * 6 terms of magnitude below 1e3, in fp64.
    close = {"rtol": 0.0, "atol": 72 * 1e3 * torch.finfo(torch.float64).eps}
    torch.testing.assert_close(inputs[1].grad, inputs[0].grad, **close)
    torch.testing.assert_close(layer.bias.grad, linear.bias.grad, **close)
    stored = linear.weight != 0
    gradient = copy.deepcopy(layer)
    gradient.values.data = layer.values.grad
    dense_gradient = gradient.to_dense().weight
    torch.testing.assert_close(dense_gradient[stored], linear.weight.grad[stored], **close)


@pytest.mark.parametrize("kind", KINDS)
def test_gradcheck(kind: Any) -> None:
    layer = kind.from_dense(pruned_24(8, 3, dtype=torch.float64))
    x = torch.randn(4, 8, dtype=torch.float64, generator=generator(1), requires_grad=True)

    def apply(values: Any, bias: Any, x: Any) -> Any:
        return torch.func.functional_call(layer, {"values": values, "bias": bias}, (x,))

    assert torch.autograd.gradcheck(apply, (layer.values, layer.bias, x))


@pytest.mark.parametrize("kind", KINDS)
def test_an_optimizer_step_is_seen_by_the_next_forward(kind: Any) -> None:
    layer = kind.from_dense(pruned_24(8, 3))
    x = torch.ones(1, 8)
    matrix = layer.matrix()
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.5)
    layer(x).sum().backward()
    optimizer.step()
    check_forward(layer, layer.to_dense(), x)
    assert layer.matrix() is matrix


@pytest.mark.parametrize("kind", KINDS)
def test_frozen_values_still_pass_the_gradient_on(kind: Any) -> None:
    layer = kind.from_dense(pruned_24(8, 3)).requires_grad_(False)
    x = torch.ones(2, 8, requires_grad=True)
    layer(x).sum().backward()
    expected = layer.to_dense().weight.sum(dim=0).expand(2, 8)
    # Sums of three numbers below 4 in magnitude, in fp32.
    torch.testing.assert_close(x.grad, expected, rtol=0.0, atol=12 * torch.finfo(torch.float32).eps)
    assert layer.values.grad is None
