"""2:4 of 8-bit floats: stored as they are, multiplied as the wider numbers that they are."""

import ml_dtypes
import numpy as np
import pytest

import oracle
import sparsecore as sc
from oracle import BF16, F16, F32
from sparse24_cases import compressed_by_hand, two_largest

E4M3, E5M2 = np.dtype(ml_dtypes.float8_e4m3fn), np.dtype(ml_dtypes.float8_e5m2)
BOTH = pytest.mark.parametrize("dtype", [E4M3, E5M2], ids=str)


def every_number(dtype, k):
    """Return rows of all 256 bit patterns in some order."""
    rng = np.random.default_rng(k)
    return np.resize(rng.permutation(256).astype(np.uint8), (-(-512 // k), k)).view(dtype)


@BOTH
def test_pruned_and_compressed(dtype):
    for k in (4, 7, 16, 64, 70):
        W = every_number(dtype, k)
        mask = two_largest(W)
        np.testing.assert_array_equal(sc.prune_24(W), mask, f"k={k}")
        S = sc.Sparse24.from_dense(W, prune=True)
        values, metadata = compressed_by_hand(np.where(mask, W, dtype.type(0)))
        np.testing.assert_array_equal(S.values.view(np.uint8), values.view(np.uint8), f"k={k}")
        np.testing.assert_array_equal(S.metadata, metadata)
        again = sc.Sparse24.from_dense(S.toarray())
        assert again.equals(S)
        assert S.dtype == dtype
        assert (S.nbytes, S.storage().total) == (S.values.size + metadata.size,) * 2


@BOTH
@pytest.mark.parametrize("x_dtype", [F32, F16, BF16, E4M3, E5M2], ids=str)
@pytest.mark.parametrize("n", [1, 5, 40])
def test_products(dtype, x_dtype, n):
    rng = np.random.default_rng(n)
    W = rng.standard_normal((9, 22)).astype(dtype)
    S = sc.Sparse24.from_dense(W, prune=True)
    X = rng.standard_normal((22, n)).astype(x_dtype)
    result = F32 if x_dtype in (E4M3, E5M2) else x_dtype
    dense = S.toarray().astype(np.float64)
    want = oracle.product(dense, two_largest(W), X.astype(np.float64), result)
    oracle.check(S @ X, want, f"{dtype} by {x_dtype}")
    oracle.check(sc.linear(X.T, S).T, want, f"{dtype} by {x_dtype}, a layer")
    Z = rng.standard_normal((n, 9)).astype(x_dtype)
    turned = oracle.product(dense.T, two_largest(W).T, Z.astype(np.float64).T, result)
    oracle.check((Z @ S).T, turned, f"{x_dtype} by {dtype}")


@BOTH
def test_torch_holds_them_too(dtype, tmp_path):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    W = every_number(dtype, 22)
    host = sc.Sparse24.from_dense(W, prune=True)
    there = sc.Sparse24.from_dense(torch.from_numpy(W.view(np.int8)).view(_of_torch(dtype)), True)
    assert there.dtype == _of_torch(dtype)
    assert there.equals(host)
    assert there.values.view(torch.uint8).numpy().tobytes() == host.values.tobytes()
    dense = there.toarray().view(torch.uint8).numpy()
    numbers = np.isfinite(host.toarray().astype(np.float32))  # fp16 does not keep signs of NaN
    np.testing.assert_array_equal(dense[numbers], host.toarray().view(np.uint8)[numbers])
    sc.save(tmp_path / "S.safetensors", there)
    assert sc.load(tmp_path / "S.safetensors").equals(host)
    assert sc.load(tmp_path / "S.safetensors", framework="torch").equals(host)
    assert host.astype(np.float32).astype(dtype).allclose(host, equal_nan=True)


def test_gradients_reach_x():
    torch = pytest.importorskip("torch", reason="torch is not installed")
    W = np.random.default_rng(1).standard_normal((6, 10)).astype(E4M3)
    dense = torch.from_numpy(W.astype(np.float32)).to(torch.float8_e4m3fn)
    S = sc.Sparse24.from_dense(dense, prune=True)
    X = torch.randn(10, 3, requires_grad=True)
    (S @ X).sin().sum().backward()
    exact = S.toarray().float()
    Y = X.detach().clone().requires_grad_()
    (exact @ Y).sin().sum().backward()
    torch.testing.assert_close(X.grad, Y.grad, rtol=1e-5, atol=1e-6)


def test_what_has_no_such_products():
    S = sc.Sparse24.from_dense(np.ones((2, 8)).astype(E4M3), prune=True)
    for X in (np.ones((8, 1)), np.ones((8, 1), np.int8)):
        with pytest.raises(TypeError, match=f"A is float8_e4m3fn, X is {X.dtype}"):
            S @ X
    wide = sc.Sparse24.from_dense(np.ones((2, 8)), prune=True)
    with pytest.raises(TypeError, match="A is float64, X is float32"):
        wide @ np.ones((8, 1), E4M3)
    with pytest.raises(TypeError, match="from_dense: W has dtype float8_e4m3fn, expected one"):
        sc.CSR.from_dense(np.ones((2, 8), E4M3))
    with pytest.raises(TypeError, match="X has dtype float8_e4m3fn"):
        sc.csr_matmul(sc.CSR.from_dense(np.ones((2, 8), F32)), np.ones((8, 1), E4M3))


def _of_torch(dtype):
    import torch

    return getattr(torch, dtype.name)
