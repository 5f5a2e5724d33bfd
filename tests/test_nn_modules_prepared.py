"""nn/modules.py: CSRLinear kept in a plan for running."""

import copy
import io
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import sparsecore as sc  # noqa: E402
from linear_layers import generator  # noqa: E402


def pruned(features: int = 128, outputs: int = 70, *, seed: int = 1) -> Any:
    linear = torch.nn.Linear(features, outputs)
    with torch.no_grad():
        linear.weight.normal_(generator=generator(seed))
        linear.bias.normal_(generator=generator(seed))
        linear.weight[torch.rand(linear.weight.shape, generator=generator(seed)) < 0.4] = 0
    return linear


@pytest.mark.parametrize("n", [None, 1, 64])
def test_a_prepared_layer_computes_the_same(n: int | None) -> None:
    linear = pruned()
    layer = sc.nn.CSRLinear.from_dense(linear).prepare_(n)
    for rows in (1, 3, 64):
        x = torch.randn(rows, 128, generator=generator(2), requires_grad=True)
        want = linear(x)
        y = layer(x)
        torch.testing.assert_close(y, want, rtol=1e-4, atol=1e-4)
        (gradient,) = torch.autograd.grad(y.sum(), x)
        (wanted,) = torch.autograd.grad(want.sum(), x)
        torch.testing.assert_close(gradient, wanted, rtol=1e-4, atol=1e-4)
    assert torch.equal(layer.to_dense().weight, linear.weight)
    assert f"kernel={layer._plan.kernel}" in repr(layer)


def test_the_values_are_kept_once() -> None:
    """A 60 % sparse fp32 layer: 6 bytes a nonzero and what its rows cost."""
    layer = sc.nn.CSRLinear.from_dense(pruned(1024, 512))
    nnz = layer.values.numel()
    layer(torch.ones(1, 1024))
    before = layer.nbytes
    layer.prepare_()
    assert layer._plan.kernel == "packed_sweep"
    assert not [name for name, _ in layer.named_parameters() if name != "bias"]
    assert not list(layer.buffers())
    assert 6 * nnz <= layer.nbytes < 6.5 * nnz < before


def test_a_layer_for_one_row_counts_its_structure() -> None:
    layer = sc.nn.CSRLinear.from_dense(pruned(256, 128)).prepare_(n=1)
    plan = layer._plan
    assert plan.kernel == "block_permute"
    columns_and_offsets = plan.nnz + 2 * 129  # 256 columns: a byte each; 19661 entries: two each
    assert layer.nbytes == plan.nbytes + columns_and_offsets


def test_restored_layers_train() -> None:
    linear = pruned()
    layer = sc.nn.CSRLinear.from_dense(linear)
    values = layer.values.detach().clone()
    layer.prepare_().prepare_(n=1).restore_().restore_()
    assert torch.equal(layer.values, values)
    assert layer.values.requires_grad
    layer(torch.ones(2, 128)).sum().backward()
    assert layer.values.grad is not None
    layer.values.requires_grad_(False)
    assert not layer.prepare_().restore_().values.requires_grad
    assert layer.prepare_().requires_grad_().restore_().values.requires_grad
    with pytest.raises(ValueError, match="prepare: n is -1"):
        layer.prepare_(-1)
    assert layer.values.requires_grad
    with pytest.raises(ValueError, match="prepare: n is -1"):
        layer.prepare_(5).prepare_(-1)
    assert (layer._plan is not None, layer._prepared_for) == (True, 5)


def test_state_goes_out_and_in() -> None:
    plain, prepared = (sc.nn.CSRLinear.from_dense(pruned()) for _ in range(2))
    prepared.prepare_()
    state, want = prepared.state_dict(), plain.state_dict()
    assert list(state) == list(want)
    assert all(torch.equal(state[name], want[name]) for name in want)
    file = io.BytesIO()
    torch.save(state, file)
    other = sc.nn.CSRLinear.from_dense(pruned(seed=3)).prepare_()
    file.seek(0)
    other.load_state_dict(torch.load(file, weights_only=True))
    assert other._plan is not None
    x = torch.randn(4, 128, generator=generator(2))
    assert torch.equal(other(x), prepared(x))


def test_state_that_is_wrong_leaves_the_layer() -> None:
    layer = sc.nn.CSRLinear.from_dense(pruned()).prepare_()
    x = torch.randn(4, 128, generator=generator(2))
    before = layer(x)
    state = layer.state_dict()
    state["indices"] = state["indices"].flip(0)
    with pytest.raises(RuntimeError, match="duplicate entry at row 0"):
        layer.load_state_dict(state)
    assert torch.equal(layer(x), before)


def test_copies_and_casts() -> None:
    linear = pruned()
    layer = sc.nn.CSRLinear.from_dense(linear).prepare_()
    x = torch.randn(4, 128, generator=generator(2))
    assert torch.equal(copy.deepcopy(layer)(x), layer(x))
    file = io.BytesIO()
    torch.save(layer, file)
    file.seek(0)
    assert torch.equal(torch.load(file, weights_only=False)(x), layer(x))
    layer.double()
    assert layer._plan is not None
    np.testing.assert_allclose(
        layer(x.double()).detach(), linear.double()(x.double()).detach(), rtol=1e-12
    )
    layer.to("meta")
    assert layer.values.is_meta
