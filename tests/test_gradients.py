"""Gradients against differences in fp64 (`gradcheck`): python/sparsecore/torch_ops.py."""

import itertools

import numpy as np
import pytest

import cases
import oracle
import sparsecore as sc
from oracle import BF16
from recorded import leaf, pattern

torch = pytest.importorskip("torch")
gradcheck, gradgradcheck = torch.autograd.gradcheck, torch.autograd.gradgradcheck

SHAPES = ((5, 7), (1, 1), (4, 1), (1, 6), (3, 3))
RIGHTS = ((None, "C"), (1, "C"), (3, "C"), (3, "F"), (0, "C"))


@pytest.mark.parametrize("transposed", [False, True], ids=["A", "A.T"])
def test_matmul_in_values_and_x(transposed):
    for (m, k), (n, order) in itertools.product(SHAPES, RIGHTS):
        A = pattern(m, k)
        inner = m if transposed else k
        X = leaf(*([inner] if n is None else [inner, n]), order=order)
        data = leaf(A.nnz, seed=1)

        def product(data, X, A=A):
            B = A.with_data(data)
            return sc.csr_matmul(B.T if transposed else B, X)

        assert gradcheck(product, (data, X)), (m, k, n, order)
        assert gradcheck(lambda X, A=A, data=data: product(data.detach(), X, A), (X,))
        assert gradcheck(lambda data, A=A, X=X: product(data, X.detach(), A), (data,))


@pytest.mark.parametrize("transposed", [False, True], ids=["A", "A.T"])
def test_gradients_of_gradients(transposed):
    A = pattern(4, 5)
    inner = 4 if transposed else 5
    for shape, order in (((inner,), "C"), ((inner, 3), "C"), ((inner, 3), "F")):

        def product(data, X):
            B = A.with_data(data)
            return sc.csr_matmul(B.T if transposed else B, X)

        assert gradgradcheck(product, (leaf(A.nnz), leaf(*shape, order=order, seed=1))), shape


def test_matmul_from_the_left():
    A = pattern(4, 5)
    data = leaf(A.nnz)
    assert gradcheck(lambda d, X: X @ A.with_data(d), (data, leaf(3, 4, seed=1)))
    assert gradcheck(lambda d, X: X @ A.with_data(d).T, (data, leaf(3, 5, seed=1)))
    assert gradcheck(lambda d, x: x @ A.with_data(d), (data, leaf(4, seed=1)))


def test_scale():
    A = pattern(4, 5)
    arguments = leaf(A.nnz), leaf(5, 3, seed=1), leaf(4, seed=2)
    assert gradcheck(lambda d, X, s: sc.csr_matmul(A.with_data(d), X, scale=s), arguments)
    assert gradgradcheck(lambda d, X, s: sc.csr_matmul(A.with_data(d), X, scale=s), arguments)
    vector = leaf(A.nnz), leaf(5, seed=1), leaf(4, seed=2)
    assert gradcheck(lambda d, X, s: sc.csr_matmul(A.with_data(d), X, scale=s), vector)
    fixed = np.arange(1.0, 5.0)
    assert gradcheck(
        lambda d: sc.csr_matmul(A.with_data(d), arguments[1].detach(), scale=fixed), arguments[:1]
    )


def test_int8_values_with_scale():
    """Differentiable in X and in the factors."""
    rng = np.random.default_rng(40)
    W = cases.random_dense(rng, (4, 8), 0.5, oracle.I8)
    for left, X in itertools.product(("csr", "plan", "24"), (leaf(8, 3), leaf(8))):
        operand = getattr(cases, {"24": "sparse24"}.get(left, left))(W)
        assert gradcheck(
            lambda X, s, A=operand.matrix: cases.multiply(A, X, scale=s), (X, leaf(4, seed=1))
        ), left
    A = sc.CSR.from_dense(W)
    assert gradcheck(lambda x, s: sc.linear(x, A, scale=s), (leaf(3, 8), leaf(4, seed=1)))
    assert gradcheck(lambda X, s: sc.csr_matmul(A.T, X, scale=s), (leaf(4, 3), leaf(8, seed=1)))


def test_int8_sums_are_scaled_before_they_are_rounded():
    """128 * 127 * 10 passes fp16's largest number; times 0.01 it does not."""
    A = sc.CSR.from_dense(np.full((2, 128), 127, np.int8))
    factors = np.full(2, 0.01, np.float32)
    for dtype, shape in itertools.product((torch.float16, torch.bfloat16), ((128,), (128, 3))):
        X = torch.full(shape, 10.0, dtype=dtype)
        plain = sc.csr_matmul(A, X, scale=factors)
        for scale in (factors, factors.astype(BF16), torch.from_numpy(factors)):
            recorded = sc.csr_matmul(A, X.clone().requires_grad_(), scale=scale)
            assert recorded.requires_grad
            torch.testing.assert_close(recorded.detach(), plain)


def test_sparse24():
    for k in (4, 7, 8, 10):
        W = cases.numbers(np.random.default_rng(41), (3, k), oracle.F64)
        S = sc.Sparse24.from_dense(torch.from_numpy(W), prune=True)
        padding = S._structure.column_ids() >= k

        def product(values, X, S=S, padding=padding, k=k):
            values = values.masked_fill(torch.from_numpy(padding), 0)
            return sc.Sparse24((values, S.metadata), (3, k)) @ X

        for X in (leaf(k, 2), leaf(k)):
            values = S.values.clone().requires_grad_()
            assert gradcheck(product, (values, X)), k
            assert gradgradcheck(product, (values, X)), k


def test_sampled_product():
    A = pattern(4, 5)
    for U, V in ((leaf(4, 3), leaf(5, 3, seed=1)), (leaf(4), leaf(5, seed=1))):
        assert gradcheck(lambda U, V: sc.csr_sddmm(A, U, V), (U, V))
        assert gradgradcheck(lambda U, V: sc.csr_sddmm(A, U, V), (U, V))
        assert gradcheck(lambda U, V=V: sc.csr_sddmm(A, U, V.detach()), (U,))
    assert gradcheck(lambda U, V: sc.csr_sddmm(A.prepare(), U, V), (leaf(4, 2), leaf(5, 2, seed=1)))


@pytest.mark.parametrize("activation", [None, "relu", "gelu", "silu"])
def test_linear(activation):
    A = pattern(4, 5)
    data, bias = leaf(A.nnz), leaf(4, seed=1)
    for lead in ((), (3,), (2, 3), (0,)):
        x, residual = leaf(*lead, 5, seed=2), leaf(*lead, 4, seed=3)

        def layer(data, x, bias, residual, scale):
            return sc.linear(
                x, A.with_data(data), bias, activation=activation, residual=residual, scale=scale
            )

        assert gradcheck(layer, (data, x, bias, residual, leaf(4, seed=4))), lead
        assert gradcheck(lambda x: sc.linear(x, A.prepare(), activation=activation), (x,))
        assert gradcheck(lambda x: sc.linear(x, A.T.tocsr().T, activation=activation), (x,))
