"""What autograd records, in which dtypes, and what it must never hold."""

import numpy as np
import pytest

import cases
import oracle
import sparsecore as sc
from child import output
from oracle import BF16, F16, F32
from recorded import leaf, pattern
from sparsecore.interop import as_tensor

torch = pytest.importorskip("torch")


def test_linear_with_numpy_parts():
    """Constants may be numpy arrays, with or without a gradient."""
    A, x = pattern(4, 5), leaf(3, 5)
    bias, residual, scale = np.arange(4.0), np.ones((3, 4)), np.full(4, 2.0)
    arguments = {"residual": residual, "scale": scale, "activation": "silu"}
    recorded = sc.linear(x, A, bias, **arguments)
    torch.testing.assert_close(recorded.detach(), sc.linear(x.detach(), A, bias, **arguments))
    assert torch.autograd.gradcheck(lambda x: sc.linear(x, A, bias, **arguments), (x,))


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
