"""Calls under `torch.compile`: numbers, gradients, graphs and errors as without it."""

import pytest

torch = pytest.importorskip("torch")

from torch._dynamo.exc import TorchDynamoException  # noqa: E402

import library_cases as lib  # noqa: E402
import sparsecore as sc  # noqa: E402
from compiling import check_training, compiled  # noqa: E402


@pytest.fixture(autouse=True)
def fresh_compiler():
    """Compile anew: how often a function was compiled before decides what a graph specializes."""
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


A, S = lib.matrix("csr"), lib.matrix("sparse24")
X, XT, x3 = lib.numbers(10, 3), lib.numbers(6, 3), lib.numbers(2, 3, 10)
BIAS, SCALE, RESIDUAL = lib.numbers(6, seed=1), lib.numbers(6, seed=2), lib.numbers(2, 3, 6, seed=3)
DENSE = lib.numbers(6, 10, seed=4)
EPILOGUE = {"scale": SCALE, "residual": RESIDUAL, "activation": "gelu"}


@pytest.mark.parametrize(
    ("function", "tensors"),
    [
        (lambda: sc.csr_matmul(A, X), (A.data, X)),
        (lambda: sc.csr_matmul(A.T, XT), (A.data, XT)),
        (lambda: sc.csr_matmul(A, X[:, 0], scale=SCALE), (A.data, X, SCALE)),
        (lambda: sc.csr_matmul(A.with_data(2 * A.data), X), (A.data, X)),
        (lambda: sc.linear(x3, DENSE, BIAS, activation="relu"), (x3, DENSE, BIAS)),
        (lambda: sc.sparse24_matmul(S, X), (S.values, X)),
        (lambda: sc.csr_sddmm(A, XT, X), (XT, X)),
        (lambda: sc.linear(x3, A, BIAS, **EPILOGUE), (A.data, x3, BIAS, SCALE, RESIDUAL)),
        (lambda: sc.linear(x3, S, BIAS, activation="silu"), (S.values, x3, BIAS)),
        (lambda: sc.linear(XT.t(), A.T), (A.data, XT)),
    ],
    ids=[
        "csr",
        "transposed",
        "scale",
        "with_data",
        "dense",
        "24",
        "sddmm",
        "linear",
        "linear 24",
        "linear transposed",
    ],
)
def test_products(function, tensors):
    check_training(function, tensors)


def test_plans():
    P = A.prepare(backward=True)
    for function in (
        lambda: sc.csr_matmul(P, X),
        lambda: sc.linear(X.t(), P, BIAS, activation="relu"),
    ):
        check_training(function, (X,))
    product = compiled(lambda x: sc.csr_matmul(P, x))
    with torch.no_grad():
        before = product(X)
        P.update(2 * A.data.detach())
        torch.testing.assert_close(product(X), 2 * before)
    y = product(X)
    P.update(A.data.detach())
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_out():
    out = torch.empty(6, 3, dtype=X.dtype)
    with torch.no_grad():
        assert compiled(lambda: sc.csr_matmul(A, X, out=out))() is out
        torch.testing.assert_close(out, sc.csr_matmul(A, X))


def test_matrices_may_change_between_calls():
    product = compiled(sc.csr_matmul)
    for seed in range(3):
        W = lib.numbers(4, 10, seed=seed, grad=False).relu()
        B = sc.CSR.from_dense(W)
        torch.testing.assert_close(product(B, X), W @ X)


def test_errors_say_the_same():
    for call in (
        lambda: sc.csr_matmul(A, X[:5]),
        lambda: sc.linear(X, A),
        lambda: sc.linear(x3, A, BIAS[:2]),
        lambda: sc.csr_matmul(A, X.float()),
        lambda: sc.csr_sddmm(A, X, X),
        lambda: sc.linear(x3, A, activation="tanh"),
    ):
        with pytest.raises((TypeError, ValueError)) as direct:
            call()
        with pytest.raises(TorchDynamoException) as traced:
            compiled(call)()
        assert str(direct.value) in str(traced.value).replace("\\'", "'")


def test_numpy_values_are_refused():
    B = sc.CSR.from_dense(lib.numbers(4, 10, grad=False).numpy())
    with pytest.raises(TorchDynamoException, match="A holds numpy values"):
        compiled(lambda: sc.csr_matmul(B, X))()
