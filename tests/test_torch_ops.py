"""Products of torch tensors: zero copy, the numbers of numpy's, A @ X and X @ A in every mix."""

import itertools

import numpy as np
import pytest

import cases
import oracle
import sparsecore as sc
from child import output
from oracle import DTYPES, F32, F64
from sparsecore.interop import as_tensor, to_numpy

torch = pytest.importorskip("torch")

LEFT = {"csr": cases.csr, "transposed": cases.transposed, "plan": cases.plan, "24": cases.sparse24}


def tensor(array):
    return as_tensor(np.ascontiguousarray(array))


def torch_operand(left, W):
    """Return the operand of W with its values in torch."""
    operand = LEFT[left](W)
    T = tensor(W)
    if left == "24":
        matrix = sc.Sparse24.from_dense(tensor(operand.matrix.toarray()))
    elif left == "transposed":
        matrix = sc.CSR.from_dense(T.T.contiguous()).T
    else:
        matrix = sc.CSR.from_dense(T)
    if left == "plan":
        matrix = matrix.prepare()
    return cases.Operand(matrix, operand.W, operand.stored)


def strided_tensors(X):
    """Yield a tensor equal to X in each memory order that torch has."""
    yield "C", X.clone()
    yield "F", X.t().contiguous().t() if X.ndim == 2 else X.clone()
    wide = torch.zeros([2 * s + 1 for s in X.shape], dtype=X.dtype)
    view = wide[tuple(slice(1, 2 * s + 1, 2) for s in X.shape)]
    yield "strided", view.copy_(X)
    yield "offset", torch.cat([X[:1], X])[1:]
    yield "expanded", X[:1].expand(X.shape)


@pytest.mark.parametrize("left", LEFT)
@pytest.mark.parametrize("mix", cases.MIXES, ids=str)
def test_shapes_and_strides(left, mix):
    rng = np.random.default_rng(34)
    dtype = oracle.result_dtype(mix.values, mix.x)
    for (m, k), n in itertools.product(((7, 12), (17, 5), (1, 1)), (None, 0, 1, 5, 33)):
        operand = torch_operand(left, cases.random_dense(rng, (m, k), 0.5, mix.values))
        scale = cases.factors(rng, m, F32) if mix.scaled else None
        X = tensor(cases.numbers(rng, (k,) if n is None else (k, n), mix.x))
        for order, x in strided_tensors(X):
            factors = None if scale is None else torch.from_numpy(scale)
            Y = cases.multiply(operand.matrix, x, scale=factors)
            assert isinstance(Y, torch.Tensor)
            want = oracle.product(operand.W, operand.stored, to_numpy(x, name="x"), dtype, scale)
            oracle.check(to_numpy(Y, name="Y"), want, f"{left} {m}x{k}, n={n}, {order}")


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_values_and_right_sides_are_not_copied(dtype):
    """The core gets views of torch's memory, bf16 included, and the result wraps the core's."""
    W = tensor(np.arange(1, 13, dtype=np.float64).reshape(3, 4).astype(dtype))
    A = sc.CSR.from_dense(W)
    for x in (A.data, W, W.t(), W[:, ::2]):
        view = to_numpy(x, name="x")
        assert view.dtype == dtype
        assert view.__array_interface__["data"][0] == x.data_ptr()
        assert view.strides == tuple(s * x.element_size() for s in x.stride())
    data = A.data.clone()
    B = A.with_data(data)
    assert B.data is data
    ones = torch.ones(4, dtype=W.dtype)
    before = (B @ ones).clone()
    data.mul_(2)
    assert torch.equal(B @ ones, 2 * before), "values are read where torch keeps them"


def test_out_is_written_in_place():
    A = sc.CSR.from_dense(torch.eye(4, dtype=torch.bfloat16))
    X = torch.randn(4, 3).bfloat16()
    out = torch.empty(3, 4, dtype=torch.bfloat16).t()
    pointer = out.data_ptr()
    assert sc.csr_matmul(A, X, out=out) is out
    assert out.data_ptr() == pointer
    assert torch.equal(out, X)
    y = torch.empty(2, 3, 4)
    x = torch.randn(2, 3, 4)
    assert sc.linear(x, sc.CSR.from_dense(torch.eye(4)), out=y) is y
    assert torch.equal(x, y)


def test_a_column_major_right_side_gives_a_column_major_result():
    A = sc.CSR.from_dense(torch.eye(5))
    assert (A @ torch.ones(3, 5).t()).stride() == (1, 5)
    assert (A @ torch.ones(5, 3)).stride() == (3, 1)
    assert (torch.ones(3, 5) @ A).stride() == (5, 1)


@pytest.mark.parametrize("make_x", [np.asarray, torch.from_numpy], ids=["numpy", "torch"])
@pytest.mark.parametrize("make_a", [np.asarray, torch.from_numpy], ids=["numpy", "torch"])
def test_either_kind_of_values_with_either_kind_of_x(make_a, make_x):
    """The result is what X is, from both sides."""
    rng = np.random.default_rng(35)
    W = cases.random_dense(rng, (5, 7), 0.5, F64)
    A = sc.CSR.from_dense(make_a(W))
    S = sc.Sparse24.from_dense(make_a(W), prune=True)
    right, left = rng.standard_normal((7, 3)), rng.standard_normal((2, 5))
    for got, want in (
        (A @ make_x(right), W @ right),
        (A @ make_x(right[:, 0].copy()), W @ right[:, 0]),
        (make_x(left) @ A, left @ W),
        (make_x(left[0].copy()) @ A, left[0] @ W),
        (A.T @ make_x(left.T.copy()), W.T @ left.T),
        (make_x(right.T.copy()) @ A.T, right.T @ W.T),
        (A.prepare() @ make_x(right), W @ right),
        (make_x(left) @ A.prepare(), left @ W),
        (S @ make_x(right), sc.interop.to_numpy(S.toarray(), name="S") @ right),
        (sc.linear(make_x(right.T.copy()), A), right.T @ W.T),
    ):
        assert isinstance(got, type(make_x(right)))
        np.testing.assert_allclose(np.asarray(got), want, rtol=1e-12, atol=1e-13)


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta:UserWarning")
def test_torch_sparse_csr_as_a():
    rng = np.random.default_rng(36)
    W = torch.from_numpy(cases.random_dense(rng, (6, 9), 0.4, F32))
    X = torch.from_numpy(cases.numbers(rng, (9, 4), F32))
    A = W.to_sparse_csr()
    torch.testing.assert_close(sc.csr_matmul(A, X), W @ X)
    torch.testing.assert_close(sc.csr_matmul(A, X[:, 0]), W @ X[:, 0])
    torch.testing.assert_close(sc.linear(X.t(), A), X.t() @ W.t())
    with pytest.raises(TypeError, match="csr_matmul: A"):
        sc.csr_matmul(W, X)
    with pytest.raises(TypeError, match="csr_matmul: A"):
        sc.csr_matmul(W.to_sparse_coo(), X)


def test_prune_24_of_tensors():
    rng = np.random.default_rng(37)
    for dtype in DTYPES:
        W = cases.numbers(rng, (3, 5, 8), dtype)
        mask = sc.prune_24(tensor(W))
        assert mask.dtype == torch.bool
        assert torch.equal(mask, torch.from_numpy(sc.prune_24(W)))
        assert torch.equal(sc.prune_24(tensor(W).transpose(0, 1)), mask.transpose(0, 1))
    assert sc.prune_24(torch.nn.Parameter(torch.ones(4))).tolist() == [True, True, False, False]


def test_sddmm_of_tensors():
    rng = np.random.default_rng(38)
    W = cases.random_dense(rng, (6, 9), 0.5, F32)
    for dtype in DTYPES:
        U, V = cases.numbers(rng, (6, 4), dtype), cases.numbers(rng, (9, 4), dtype)
        d = sc.csr_sddmm(sc.CSR.from_dense(torch.from_numpy(W)), tensor(U), tensor(V))
        assert isinstance(d, torch.Tensor)
        oracle.check(to_numpy(d, name="d"), oracle.sampled(*np.nonzero(W), U, V), dtype)


# ---- refusals ----


def test_kinds_devices_and_layouts_that_do_not_go_together():
    A, x = sc.CSR.from_dense(torch.eye(4)), torch.ones(4)
    S = sc.Sparse24.from_dense(torch.eye(4))
    meta = torch.ones(4, device="meta")
    for call in (
        lambda: sc.csr_matmul(A, meta),
        lambda: sc.sparse24_matmul(S, meta),
        lambda: sc.linear(meta, A),
        lambda: sc.csr_sddmm(A, meta, meta),
        lambda: sc.csr_matmul(A, x, scale=meta),
        lambda: sc.csr_matmul(A, x, out=meta),
        lambda: sc.linear(x, A, meta),
        lambda: sc.prune_24(meta),
    ):
        with pytest.raises(TypeError, match=r"'meta'.*'cpu'"):
            call()
    for call in (
        lambda: sc.csr_matmul(A, x, out=np.empty(4, F32)),
        lambda: sc.csr_matmul(A, np.ones(4, F32), out=x),
        lambda: sc.csr_sddmm(A, x, np.ones(4, F32)),
    ):
        with pytest.raises(TypeError, match=r"numpy array.*torch tensor|torch tensor.*numpy array"):
            call()
    with pytest.raises(TypeError, match="layout"):
        sc.csr_matmul(A, torch.eye(4).to_sparse_coo())
    for dtype in (torch.float64, torch.int64, torch.bool, torch.complex64, torch.float8_e4m3fn):
        with pytest.raises(TypeError):
            sc.csr_matmul(A, torch.ones(4).to(dtype))


def test_out_that_requires_grad_or_meets_one_that_does():
    A, x = sc.CSR.from_dense(torch.eye(4)), torch.ones(4)
    learned = sc.CSR.from_dense(torch.eye(4, requires_grad=True))
    tracked = torch.ones(4, requires_grad=True)
    out = torch.empty(4)
    for call in (
        lambda: sc.csr_matmul(A, x, out=torch.empty(4, requires_grad=True)),
        lambda: sc.linear(x, A, out=torch.empty(4, requires_grad=True)),
        lambda: sc.csr_matmul(A, tracked, out=out),
        lambda: sc.csr_matmul(learned, x, out=out),
        lambda: sc.linear(x, learned, out=out),
        lambda: sc.linear(x, A, tracked, out=out),
    ):
        with pytest.raises(RuntimeError, match="out"):
            call()
    with torch.no_grad():
        assert torch.equal(sc.csr_matmul(learned, tracked, out=out), x)
        with pytest.raises(RuntimeError, match="out requires grad"):
            sc.csr_matmul(A, x, out=torch.empty(4, requires_grad=True))


def test_out_overlapping_a_tensor():
    A = sc.CSR.from_dense(torch.eye(4))
    X = torch.ones(5, 4)
    for out in (X[:4], X[1:], X[:4].t()):
        with pytest.raises(ValueError, match="out overlaps X"):
            sc.csr_matmul(A, X[:4], out=out)
    with pytest.raises(ValueError, match="out overlaps A's values"):
        sc.csr_matmul(A, torch.ones(4), out=A.data)


# ---- torch stays the user's choice ----


def test_import_and_numpy_products_do_not_import_torch():
    printed = output(
        """
        import sys
        import numpy as np
        import sparsecore as sc

        W = np.eye(8, dtype=np.float32)
        A, S = sc.CSR.from_dense(W), sc.Sparse24.from_dense(W)
        X = np.ones((8, 2), np.float32)
        A @ X; X.T @ A; S @ X; A.T @ X; A.prepare() @ X
        sc.linear(X.T, A, np.ones(8, np.float32), activation="gelu"); sc.linear(X.T, W)
        sc.csr_sddmm(A, X, X); sc.prune_24(W); repr(A); A.astype("bfloat16"); sc.get_num_threads()
        sc.cuda.is_available(); sc.analysis
        print("torch" in sys.modules)
        """
    )
    assert printed == "False"
