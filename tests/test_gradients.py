"""Gradients of the operations: python/sparsecore/torch_ops.py.

`gradcheck` and `gradgradcheck` compare with differences in fp64; dtypes that they cannot see are
compared with torch's own dense product in fp64.
"""

import itertools

import numpy as np
import pytest

import cases
import oracle
import sparsecore as sc
from child import output
from oracle import BF16, F16, F32
from sparsecore.interop import as_tensor

torch = pytest.importorskip("torch")
gradcheck, gradgradcheck = torch.autograd.gradcheck, torch.autograd.gradgradcheck

RNG_SEED = 39


def pattern(m, k, density=0.5):
    """Return a fp64 CSR pattern of tensors, with an empty row where there is room."""
    W = cases.random_dense(np.random.default_rng(RNG_SEED), (m, k), density, oracle.F64)
    W[m // 2] = 0
    return sc.CSR.from_dense(torch.from_numpy(W))


def leaf(*shape, order="C", seed=0):
    """Return fp64 numbers that require grad, in a memory order."""
    generator = torch.Generator().manual_seed(RNG_SEED + seed)
    x = torch.randn(*shape, dtype=torch.float64, generator=generator)
    if order == "F" and x.ndim == 2:
        x = x.t().contiguous().t()
    return x.requires_grad_()


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


def test_linear_with_numpy_parts():
    """Constants may be numpy arrays, with or without a gradient."""
    A, x = pattern(4, 5), leaf(3, 5)
    bias, residual, scale = np.arange(4.0), np.ones((3, 4)), np.full(4, 2.0)
    arguments = {"residual": residual, "scale": scale, "activation": "silu"}
    recorded = sc.linear(x, A, bias, **arguments)
    torch.testing.assert_close(recorded.detach(), sc.linear(x.detach(), A, bias, **arguments))
    assert gradcheck(lambda x: sc.linear(x, A, bias, **arguments), (x,))


def test_linear_checks_the_same_with_and_without_a_gradient():
    A = pattern(4, 5)
    ones = lambda *shape, dtype=torch.float64: torch.ones(*shape, dtype=dtype)  # noqa: E731
    for tracked in (False, True):
        x = ones(3, 5).requires_grad_(tracked)
        for bad in (ones(1), ones(3), ones(1, 4)):
            with pytest.raises((ValueError, TypeError), match="bias"):
                sc.linear(x, A, bad)
            with pytest.raises((ValueError, TypeError), match="scale"):
                sc.linear(x, A, scale=bad)
        for bad in (ones(4), ones(1, 4), ones(3, 1), ones(3, 4, dtype=torch.float32)):
            with pytest.raises((ValueError, TypeError), match="residual"):
                sc.linear(x, A, residual=bad)
        with pytest.raises(ValueError, match="x has 4 features, A has 5 columns"):
            sc.linear(ones(3, 4).requires_grad_(tracked), A)
        with pytest.raises(ValueError, match="activation"):
            sc.linear(x, A, activation="tanh")


@pytest.mark.parametrize("x_dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_results_have_the_same_dtype_and_numbers_with_and_without_a_gradient(x_dtype):
    A = pattern(6, 8).astype(x_dtype)
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(3, 8, generator=generator).to(x_dtype)
    for other in (torch.float64, torch.float32, torch.bfloat16):
        bias, scale = torch.randn(6, generator=generator).to(other), torch.ones(6, dtype=other)
        used = {"scale": scale, "residual": torch.ones(3, 6, dtype=x_dtype), "activation": "gelu"}
        plain = sc.linear(x, A, bias, **used)
        recorded = sc.linear(x.clone().requires_grad_(), A, bias, **used)
        assert recorded.dtype == plain.dtype == x_dtype
        torch.testing.assert_close(recorded.detach(), plain)


# ---- dtypes ----


@pytest.mark.parametrize("values", [F32, F16, BF16], ids=str)
@pytest.mark.parametrize("same", [True, False], ids=["same", "fp32 X"])
def test_narrow_and_mixed_dtypes(values, same):
    """Gradients in the dtype of what they belong to, within its rounding of torch's in fp64.

    A gradient of A.data sums n = 5 products, one of X up to m = 6: (n or m + 2) roundings in fp32
    and one to the dtype, relative to the sum of magnitudes, which is at most 6 * max|.|^2.
    """
    x_dtype = values if same else F32
    rng = np.random.default_rng(42)
    W = as_tensor(cases.random_dense(rng, (6, 8), 0.5, values)).requires_grad_()
    X = as_tensor(cases.numbers(rng, (8, 5), x_dtype)).requires_grad_()
    dY = as_tensor(cases.numbers(rng, (6, 5), x_dtype))
    Y = sc.CSR.from_dense(W) @ X
    assert Y.dtype == X.dtype
    Y.backward(dY)
    exact_w, exact_x = (t.detach().double().requires_grad_() for t in (W, X))
    (exact_w @ exact_x).backward(dY.double())
    kept = W.detach() != 0
    assert not W.grad[~kept].any(), "only stored positions get a gradient"
    for got, want, others in (
        (W.grad, torch.where(kept, exact_w.grad, 0), (X, dY)),
        (X.grad, exact_x.grad, (W, dY)),
    ):
        largest = float(others[0].detach().abs().max()) * float(others[1].abs().max())
        accuracy = oracle.gamma(8, F32) + oracle.unit(sc.interop.numpy_dtype(got.dtype))
        assert (got.double() - want).abs().max() <= 6 * largest * accuracy


# ---- what is recorded ----


def test_no_dense_intermediate():
    """200,000 x 200,000: a dense one would take 320 GB; the process may grow by 1 GB."""
    printed = output(
        """
        import resource

        import numpy as np
        import sparsecore as sc
        import torch

        n = 200_000
        row = np.repeat(np.arange(n), 2)
        col = (row * 7919 + np.tile([0, 1], n)) % n
        data = torch.ones(2 * n, dtype=torch.float64, requires_grad=True)
        A = sc.COO((data, (row, col)), shape=(n, n)).tocsr()
        X = torch.ones(n, 2, dtype=torch.float64, requires_grad=True)
        (torch.ones(2, 2) @ torch.ones(2, 2)).sum()
        used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + 2**30, used + 2**30))
        loss = (A @ X).square().sum() + (A.T @ X).sum() + sc.linear(X.T, A).sum()
        (gradient,) = torch.autograd.grad(loss, data, create_graph=True)
        gradient.square().sum().backward()
        d = sc.csr_sddmm(A, X, X)
        d.sum().backward()
        print(gradient.shape == data.shape, X.grad.shape == X.shape)
        """,
        timeout=120,
    )
    assert printed == "True True"


def test_edited_values_are_noticed_between_forward_and_backward():
    A = pattern(4, 5)
    data = leaf(A.nnz).clone()
    Y = A.with_data(data) @ leaf(5, 2)
    data.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        Y.sum().backward()


def test_a_plan_updated_between_forward_and_backward():
    """The gradient is that of the product that ran, or an error; never of other values."""
    A = pattern(4, 5)
    P, X = A.prepare(), leaf(5, 2)
    Y = P @ X
    P.update(torch.zeros(A.nnz, dtype=torch.float64))
    try:
        Y.sum().backward()
    except RuntimeError:
        return
    torch.testing.assert_close(X.grad, A.toarray().t() @ torch.ones(4, 2, dtype=torch.float64))


def test_nothing_is_recorded_where_nothing_requires_grad():
    A, X = pattern(4, 5), leaf(5, 2)
    assert not (A @ X.detach()).requires_grad
    assert (A @ X).requires_grad
    with torch.no_grad():
        assert not (A @ X).requires_grad
    with torch.inference_mode():
        assert not (A @ X).requires_grad
    assert (A.prepare() @ X).requires_grad
    assert not (A.with_data(leaf(A.nnz)).prepare() @ X.detach()).requires_grad


def test_nan_reaches_only_gradients_that_use_it():
    """A NaN in dY at row i reaches the values of row i and the columns that it has."""
    A = pattern(5, 6)
    data, X = leaf(A.nnz), leaf(6, 3, seed=1)
    dense = A.toarray() != 0
    for row in range(5):
        dY = torch.ones(5, 3, dtype=torch.float64)
        dY[row] = float("nan")
        d_data, d_x = torch.autograd.grad(A.with_data(data) @ X, (data, X), dY)
        rows = torch.repeat_interleave(torch.arange(5), A.indptr.diff())
        assert torch.equal(d_data.isnan(), rows == row)
        assert torch.equal(d_x.isnan().any(dim=1), dense[row])


def test_an_optimizer_step_changes_the_product():
    """A Parameter is the values themselves: nothing is cached."""
    A = pattern(4, 5)
    parameter = torch.nn.Parameter(A.data.clone())
    B, X = A.with_data(parameter), leaf(5, 2).detach()
    assert B.data is parameter
    optimizer = torch.optim.SGD([parameter], lr=0.1)
    (B @ X).sum().backward()
    before = parameter.detach().clone()
    optimizer.step()
    torch.testing.assert_close(B @ X, A.with_data(before - 0.1 * parameter.grad) @ X)
