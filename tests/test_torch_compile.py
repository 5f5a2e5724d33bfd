"""Calls and layers under `torch.compile`: numbers, gradients, graphs and errors as without it."""

import shutil

import pytest

torch = pytest.importorskip("torch")

from torch._dynamo.exc import TorchDynamoException  # noqa: E402
from torch._dynamo.testing import CompileCounter  # noqa: E402

import library_cases as lib  # noqa: E402
import sparsecore as sc  # noqa: E402
from linear_layers import prune_, prune_24_  # noqa: E402
from sparsecore.nn import CSRLinear, Sparse24Linear  # noqa: E402


@pytest.fixture(autouse=True)
def fresh_compiler():
    """Compile anew: how often a function was compiled before decides what a graph specializes."""
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def compiled(function, backend="aot_eager", **options):
    return torch.compile(function, fullgraph=True, backend=backend, **options)


def check_training(function, tensors, *, backend="aot_eager"):
    """Compare a compiled function's result and gradients with those of its eager self."""
    got, want = compiled(function, backend)(), function()
    torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-12)
    assert got.stride() == want.stride()
    gradients = [torch.autograd.grad(y.sin().sum(), tensors) for y in (got, want)]
    torch.testing.assert_close(*gradients, rtol=1e-12, atol=1e-12)


A, S = lib.matrix("csr"), lib.matrix("sparse24")
X, XT, x3 = lib.numbers(10, 3), lib.numbers(6, 3), lib.numbers(2, 3, 10)
BIAS, SCALE, RESIDUAL = lib.numbers(6, seed=1), lib.numbers(6, seed=2), lib.numbers(2, 3, 6, seed=3)
EPILOGUE = {"scale": SCALE, "residual": RESIDUAL, "activation": "gelu"}


@pytest.mark.parametrize(
    ("function", "tensors"),
    [
        (lambda: sc.csr_matmul(A, X), (A.data, X)),
        (lambda: sc.csr_matmul(A.T, XT), (A.data, XT)),
        (lambda: sc.csr_matmul(A, X[:, 0], scale=SCALE), (A.data, X, SCALE)),
        (lambda: sc.sparse24_matmul(S, X), (S.values, X)),
        (lambda: sc.csr_sddmm(A, XT, X), (XT, X)),
        (lambda: sc.linear(x3, A, BIAS, **EPILOGUE), (A.data, x3, BIAS, SCALE, RESIDUAL)),
        (lambda: sc.linear(x3, S, BIAS, activation="silu"), (S.values, x3, BIAS)),
        (lambda: sc.linear(XT.t(), A.T), (A.data, XT)),
    ],
    ids=["csr", "transposed", "scale", "24", "sddmm", "linear", "linear 24", "linear transposed"],
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


def layers(k=10, m=6):
    """Return a layer of each kind, fp64."""
    linear = torch.nn.Linear(k, m, dtype=torch.float64)
    csr = CSRLinear.from_dense(prune_(linear))
    prepared = CSRLinear.from_dense(linear).prepare_()
    return csr, prepared, Sparse24Linear.from_dense(prune_24_(linear))


@pytest.mark.parametrize("layer", layers(), ids=["csr", "prepared", "24"])
def test_layers(layer):
    check_training(lambda: layer(x3), (x3, *layer.parameters()))
    model = compiled(layer)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    for _ in range(2):
        loss = model(x3).square().sum()
        torch.testing.assert_close(loss, layer(x3).square().sum())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


@pytest.mark.parametrize("layer", layers(), ids=["csr", "prepared", "24"])
def test_a_marked_batch_axis_compiles_once(layer):
    counter = CompileCounter()
    model = compiled(layer, counter)
    for batch in (5, 2, 9):
        x = lib.numbers(batch, 3, 10, grad=False)
        torch._dynamo.mark_dynamic(x, 0)
        torch.testing.assert_close(model(x), layer(x))
    assert counter.frame_count == 1


def test_layers_that_are_alike_share_a_graph():
    """Compiled one by one, as blocks of a model are: also prepared, whose plans differ."""
    counter = CompileCounter()
    for _ in range(4):
        layer = layers()[1]
        layer.compile(fullgraph=True, backend=counter)
        torch.testing.assert_close(layer(x3), layer.forward(x3))
    assert counter.frame_count == 1


def test_edits_of_buffers_reach_a_compiled_layer():
    layer = layers()[0]
    model = compiled(layer)
    model(x3)
    for edit in (lambda: layer.indptr.fill_(0), lambda: layer.indices.fill_(99)):
        edit()
        with pytest.raises((ValueError, IndexError)) as direct:
            layer(x3)
        with pytest.raises(type(direct.value)):
            model(x3)


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


def test_autocast():
    layer = layers()[0].float()
    model = compiled(layer)
    with torch.autocast("cpu", torch.bfloat16):
        x = torch.nn.functional.linear(torch.ones(3, 10), torch.eye(10))
        assert x.dtype == torch.bfloat16
        y = model(x)
        torch.testing.assert_close(y, layer(x))
    assert y.dtype == torch.float32


# Inductor's own modules still use it.
@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")
@pytest.mark.skipif(shutil.which("g++") is None, reason="inductor compiles with g++")
def test_inductor():
    csr, prepared, two_four = layers()
    model = torch.nn.Sequential(csr, torch.nn.ReLU(), torch.nn.Linear(6, 10, dtype=x3.dtype))
    model = torch.nn.Sequential(model, prepared, torch.nn.Linear(6, 10, dtype=x3.dtype), two_four)
    check_training(lambda: model(x3), (x3, *model.parameters()), backend="inductor")
