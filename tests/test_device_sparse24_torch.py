"""Gradients, operators, graphs and layers of 2:4 matrices on a device."""

import copy

import numpy as np
import pytest

import cases
import sparsecore as sc
from device_cases import back, tensor
from oracle import F16, F32, F64

torch = pytest.importorskip("torch", reason="torch is not installed")

from compiling import check_training, compiled  # noqa: E402

pytestmark = pytest.mark.gpu

ROWS = 6


@pytest.fixture(autouse=True)
def _fresh_graphs():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def matrix(gpu, columns, dtype=F64):
    dense = cases.random_dense(np.random.default_rng(1), (ROWS, columns), 0.6, dtype)
    S = cases.sparse24(dense).matrix.to(gpu)
    return S.with_data(S.values.clone().requires_grad_())


def leaf(gpu, *shape, seed=2):
    return tensor(cases.numbers(np.random.default_rng(seed), shape, F64), gpu).requires_grad_()


def on_the_host(S, *tensors):
    """Return the dense matrix of leaves, and leaves of the same numbers."""
    values, *others = (t.detach().cpu().clone().requires_grad_() for t in (S.values, *tensors))
    m, k = S.shape
    columns = torch.from_numpy(back(S._structure.column_ids()))
    dense = torch.zeros(m, -(-k // 4) * 4, dtype=values.dtype).scatter(1, columns, values)
    return dense[:, :k], (values, *others)


def check(here, leaves_here, there, leaves_there):
    """Compare results, their gradients, and the gradients of these."""
    close = {"rtol": 1e-10, "atol": 1e-10}
    torch.testing.assert_close(there.cpu(), here, **close)
    first = [
        torch.autograd.grad(y.sin().sum(), leaves, create_graph=True)
        for y, leaves in ((here, leaves_here), (there, leaves_there))
    ]
    second = [
        torch.autograd.grad(sum(g.square().sum() for g in found), leaves)
        for found, leaves in zip(first, (leaves_here, leaves_there), strict=True)
    ]
    for want, got in zip(*(a + b for a, b in zip(first, second, strict=True)), strict=True):
        torch.testing.assert_close(got.cpu(), want, **close)


@pytest.mark.parametrize("columns", [8, 11])
def test_gradients_of_products(columns, gpu):
    S, X, Z = matrix(gpu, columns), leaf(gpu, columns, 3), leaf(gpu, 3, ROWS)
    W, leaves = on_the_host(S, X, Z)
    here = torch.cat([(W @ leaves[1]).ravel(), (leaves[2] @ W).ravel()])
    check(here, leaves, torch.cat([(S @ X).ravel(), (Z @ S).ravel()]), (S.values, X, Z))


def test_gradients_of_layers(gpu):
    S, x, bias, scale = (
        matrix(gpu, 11),
        leaf(gpu, 2, 3, 11),
        leaf(gpu, ROWS, seed=3),
        leaf(gpu, ROWS, seed=4),
    )
    W, leaves = on_the_host(S, x, bias, scale)
    here = torch.nn.functional.gelu((leaves[1] @ W.T) * leaves[3] + leaves[2])
    there = sc.linear(x, S, bias, scale=scale, activation="gelu")
    check(here, leaves, there, (S.values, x, bias, scale))


def test_products_of_matrices_that_tensors_name(gpu):
    S, X, U = matrix(gpu, 10), leaf(gpu, 10, 3).detach(), leaf(gpu, ROWS, 3).detach()
    named = (S.metadata, list(S.shape))
    matmul, sddmm = torch.ops.sparsecore.sparse24_matmul, torch.ops.sparsecore.sparse24_sddmm
    torch.testing.assert_close(matmul(X, S.values, *named), S @ X)
    torch.testing.assert_close(matmul(U, S.values, *named, True), (U.t() @ S).t())
    layer = matmul(X.t(), S.values, *named, False, True, activation="relu")
    torch.testing.assert_close(layer, sc.linear(X.t(), S).relu())
    matmul(X, S.values, *named).sum().backward()
    columns = back(S._structure.column_ids())
    sums = np.append(back(X).sum(axis=1), [0, 0])[columns]
    np.testing.assert_allclose(back(S.values.grad), sums, rtol=1e-12)
    d = sddmm(U, X, *named)
    exact = np.pad(back(U) @ back(X).T, ((0, 0), (0, 2)))
    np.testing.assert_allclose(back(d), np.take_along_axis(exact, columns, 1), rtol=1e-12)
    edited = S.metadata
    matmul(X, S.values, edited, list(S.shape))
    edited[0, 0] = 0
    with pytest.raises(ValueError, match="metadata of row 0, group 0 holds the positions 0 and 0"):
        matmul(X, S.values, edited, list(S.shape))


def test_compiled_products_and_their_gradients(gpu):
    S, X, x = matrix(gpu, 10), leaf(gpu, 10, 3), leaf(gpu, 2, 3, 10)
    bias, residual = leaf(gpu, ROWS, seed=5), leaf(gpu, 2, 3, ROWS, seed=6)

    def function():
        layer = sc.linear(x, S, bias, residual=residual, activation="silu").sum()
        return sc.sparse24_matmul(S, X) * layer

    check_training(function, (S.values, X, x, bias, residual))


def test_an_exported_program_holds_the_matrix(gpu):
    S, x = matrix(gpu, 10), leaf(gpu, 3, 10).detach()

    class Module(torch.nn.Module):
        def forward(self, x):
            return sc.linear(x, S)

    got = torch.export.export(Module(), (x,), strict=False).module()(x)
    torch.testing.assert_close(got, sc.linear(x, S))


@pytest.mark.parametrize("dtype", [F16, F32], ids=str)
def test_autocast_casts_x_to_the_dtype_of_the_values(dtype, gpu):
    S, X = matrix(gpu, 8, dtype), torch.ones(8, 2, device=gpu)
    with torch.autocast(gpu.type, torch.bfloat16), torch.no_grad():
        assert (S @ X).dtype == S.dtype


# ---- layers ----


def dense_layer(gpu, dtype=torch.float64):
    torch.manual_seed(1)
    dense = torch.nn.Linear(20, 12, dtype=dtype)
    with torch.no_grad():
        dense.weight.mul_(torch.from_numpy(sc.prune_24(dense.weight.detach().numpy())))
    return dense.to(gpu)


def close(got, want):
    torch.testing.assert_close(got.cpu(), want.cpu(), rtol=1e-10, atol=1e-10)


def test_a_layer_computes_and_trains_as_the_dense_one(gpu):
    dense = dense_layer(gpu)
    mask = dense.weight != 0
    x = torch.randn(2, 5, 20, dtype=torch.float64).to(gpu)
    layer = sc.nn.Sparse24Linear.from_dense(dense)
    for made in (layer, copy.deepcopy(layer).to(gpu)):
        close(made(x), dense(x))
        close(made.to_dense()(x), dense(x))
        assert made.matrix().device == x.device
    close(compiled(layer)(x), dense(x))
    dense, layer = copy.deepcopy(dense), copy.deepcopy(layer)
    for module in (dense, layer):
        optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
        for _ in range(2):
            optimizer.zero_grad()
            module(x).square().sum().backward()
            if module is dense:
                dense.weight.grad.mul_(mask)
            optimizer.step()
    close(layer(x), dense(x))
    state = layer.state_dict()
    other = sc.nn.Sparse24Linear(20, 12, dtype=torch.float64).to(gpu)
    other.load_state_dict(state)
    close(other(x), dense(x))


def test_a_layer_of_int8_values(gpu):
    layer = sc.nn.Sparse24Linear.from_dense(dense_layer(gpu, torch.float32), values="int8")
    x = torch.randn(9, 20).to(gpu)
    with torch.no_grad():
        torch.testing.assert_close(layer(x), layer.to_dense()(x), rtol=1e-5, atol=1e-5)
    assert layer.values.dtype == torch.int8


def test_a_convolution_of_one_by_one(gpu):
    dense = torch.nn.Conv2d(20, 12, 1, dtype=torch.float64)
    dense.weight.data = dense_layer("cpu").weight.detach().view(12, 20, 1, 1)
    dense, x = dense.to(gpu), torch.randn(2, 20, 3, 3, dtype=torch.float64).to(gpu)
    close(sc.nn.Sparse24Conv2d.from_dense(dense)(x), dense(x))
