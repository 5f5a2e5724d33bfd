"""Gradients on a device, against those of the dense product in float64 on the host."""

import numpy as np
import pytest

import cases
import device_cases
import sparsecore as sc
from device_cases import tensor
from oracle import F16, F32, F64, I8

torch = pytest.importorskip("torch", reason="torch is not installed")

pytestmark = pytest.mark.gpu

ROWS, COLUMNS = 6, 11


class Both:
    """A product on the device and the dense one on the host, of leaves of the same numbers."""

    def __init__(self, gpu, *, seed=1):
        self.gpu, self.rng = gpu, np.random.default_rng(seed)
        self.operand = device_cases.random_operand(self.rng, (ROWS, COLUMNS), 0.4, F64, gpu)
        self.here, self.there = [], []
        self.A = self.operand.matrix
        self.A.data.requires_grad_()
        rows, columns = np.nonzero(self.operand.stored)
        data = torch.from_numpy(device_cases.back(self.A.data)).clone().requires_grad_()
        self.position = torch.from_numpy(rows), torch.from_numpy(columns)
        dense = torch.zeros(ROWS, COLUMNS, dtype=torch.float64)
        self.W = dense.index_put(self.position, data)
        self.here.append(data)
        self.there.append(self.A.data)

    def leaf(self, *shape):
        """Return (on the host, on the device)."""
        array = cases.numbers(self.rng, shape, F64)
        pair = [torch.from_numpy(array).requires_grad_(), tensor(array, self.gpu).requires_grad_()]
        self.here.append(pair[0])
        self.there.append(pair[1])
        return pair

    def check(self, here, there):
        """Compare the results, their gradients, and the gradients of these."""
        close = {"rtol": 1e-10, "atol": 1e-10}
        torch.testing.assert_close(there.cpu(), here, **close)
        first = [
            torch.autograd.grad(y.sin().sum(), leaves, create_graph=True)
            for y, leaves in ((here, self.here), (there, self.there))
        ]
        for want, got in zip(*first, strict=True):
            torch.testing.assert_close(got.cpu(), want, **close)
        second = [
            torch.autograd.grad(sum(g.square().sum() for g in found), leaves)
            for found, leaves in zip(first, (self.here, self.there), strict=True)
        ]
        for want, got in zip(*second, strict=True):
            torch.testing.assert_close(got.cpu(), want, **close)


def test_products_and_the_transposed(gpu):
    for n in (2, 10):
        both = Both(gpu)
        (X, X_), (Z, Z_) = both.leaf(COLUMNS, n), both.leaf(ROWS, n)
        here = torch.cat([both.W @ X, both.W.T @ Z])
        both.check(here, torch.cat([both.A @ X_, both.A.T @ Z_]))


def test_vectors_and_factors(gpu):
    both = Both(gpu, seed=2)
    (x, x_), (scale, scale_) = both.leaf(COLUMNS), both.leaf(ROWS)
    both.check((both.W @ x) * scale, sc.csr_matmul(both.A, x_, scale=scale_))


@pytest.mark.parametrize("activation", [None, "relu", "gelu", "silu"])
def test_layers_with_all_that_follows(activation, gpu):
    both = Both(gpu, seed=3)
    (x, x_), (bias, bias_) = both.leaf(2, 3, COLUMNS), both.leaf(ROWS)
    (scale, scale_), (residual, residual_) = both.leaf(ROWS), both.leaf(2, 3, ROWS)
    y = (x @ both.W.T) * scale + bias + residual
    here = y if activation is None else getattr(torch.nn.functional, activation)(y)
    there = sc.linear(x_, both.A, bias_, scale=scale_, residual=residual_, activation=activation)
    both.check(here, there)


def test_sampled_products(gpu):
    both = Both(gpu, seed=4)
    (U, U_), (V, V_) = both.leaf(ROWS, 9), both.leaf(COLUMNS, 9)
    sampled = (U @ V.T)[both.position]
    here, there = sampled * both.here[0], sc.csr_sddmm(both.A, U_, V_) * both.A.data
    both.check(here, there)


def test_plans_pass_gradients_to_x_until_they_are_updated(gpu):
    both = Both(gpu, seed=5)
    (X, X_) = both.leaf(COLUMNS, 3)
    for backward in (False, True):
        P = both.A.prepare(backward=backward)
        (want,) = torch.autograd.grad((both.W.detach() @ X).sin().sum(), X)
        Y = P @ X_
        (got,) = torch.autograd.grad(Y.sin().sum(), X_, retain_graph=True)
        torch.testing.assert_close(got.cpu(), want, rtol=1e-10, atol=1e-10)
        P.update(2 * both.A.data.detach())
        with pytest.raises(RuntimeError, match="the plan was updated between"):
            torch.autograd.grad(Y.sum(), X_)


@pytest.mark.parametrize(("values", "x"), [(F16, F16), (F16, F32), (I8, F32)], ids=str)
def test_gradients_have_the_dtype_of_what_they_belong_to(values, x, gpu):
    """Within twenty roundings of the narrower dtype: sums have a dozen terms near 1."""
    rng = np.random.default_rng(6)
    operand = device_cases.random_operand(rng, (ROWS, COLUMNS), 0.4, values, gpu)
    data, scale = operand.matrix.data, cases.factors(rng, ROWS, F32)
    tracked = [data.requires_grad_()] if data.is_floating_point() else []
    X, dY = (cases.numbers(rng, (n, 5), x) for n in (COLUMNS, ROWS))
    X_ = tensor(X, gpu).requires_grad_()
    Y = sc.csr_matmul(operand.matrix, X_, scale=tensor(scale, gpu))
    found = torch.autograd.grad(Y, [X_, *tracked], tensor(dY, gpu))
    scaled = dY.astype(np.float64) * scale[:, None]
    positions = np.nonzero(operand.stored)
    wanted = [operand.W.T @ scaled, (scaled @ X.T.astype(np.float64))[positions]]
    for got, want, leaf in zip(found, wanted, [X_, *tracked], strict=False):
        assert got.dtype == leaf.dtype
        near = 20 * (2.0**-11 if torch.float16 in (leaf.dtype, X_.dtype) else 2.0**-24)
        bound = near * np.abs(want).max()
        np.testing.assert_allclose(device_cases.back(got), want, rtol=near, atol=bound)


def test_out_takes_no_part(gpu):
    both = Both(gpu)
    X, out = torch.ones(COLUMNS, 2, device=gpu).double(), torch.ones(ROWS, 2, device=gpu).double()
    with pytest.raises(RuntimeError, match="out takes no part in gradients"):
        sc.csr_matmul(both.A, X, out=out)
    with torch.no_grad():
        assert sc.csr_matmul(both.A, X, out=out) is out


def test_autocast_casts_x_to_the_values(gpu):
    rng = np.random.default_rng(7)
    operand = device_cases.random_operand(rng, (ROWS, COLUMNS), 0.4, F16, gpu)
    X = tensor(cases.numbers(rng, (COLUMNS, 3), F32), gpu)
    with torch.autocast(gpu.type, torch.float16):
        for left in (operand.matrix, operand.matrix.prepare()):
            assert (left @ X).dtype == torch.float16
        assert sc.csr_sddmm(operand.matrix, X[:ROWS], X.half()).dtype == torch.float32
    assert (operand.matrix @ X).dtype == torch.float32
