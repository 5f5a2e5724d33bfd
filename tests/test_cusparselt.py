"""Products by cuSPARSELt: every dtype and memory order against float64."""

import numpy as np
import pytest

import cusparselt_cases as lt
import oracle
from cusparselt_cases import E4M3, I8, RESULTS, on_device, sides, torch_dtype
from device_cases import back, tensor
from oracle import BF16, F16, F32

torch = pytest.importorskip("torch", reason="torch is not installed")

pytestmark = pytest.mark.gpu

SHAPE = (32, 16, 64)
PAIRS = [(dtype, out) for dtype, results in RESULTS.items() for out in results]
INT32 = np.dtype(np.int32)


def compressed(cusparselt, W, gpu):
    return cusparselt.compress(on_device(W, gpu), tf32=W.dtype == F32)


def by_columns(x):
    return x.t().contiguous().t()


def expected(given, out):
    """Return the product; an int8 one is rounded into int8's range."""
    want = lt.product(given, F32 if out == I8 else out)
    if out != I8:
        return want
    value = np.clip(want.value, -128, 127)
    return oracle.Expected(value, I8, np.zeros_like(value))


@pytest.mark.parametrize(("dtype", "out"), PAIRS, ids=str)
def test_product_of_contiguous_columns(dtype, out, cusparselt, gpu):
    given = sides(np.random.default_rng(1), dtype, SHAPE)
    S = compressed(cusparselt, given.W, gpu)
    Y = cusparselt.matmul(S, by_columns(on_device(given.X, gpu)), out_dtype=torch_dtype(out))
    assert Y.stride() == (1, SHAPE[0])
    oracle.check(back(Y), expected(given, out), (dtype, out))


@pytest.mark.parametrize("dtype", [F16, BF16, F32], ids=str)
@pytest.mark.parametrize("x_by_columns", [False, True])
@pytest.mark.parametrize("out_by_columns", [False, True])
def test_memory_orders_with_gaps(dtype, x_by_columns, out_by_columns, cusparselt, gpu):
    """Rows, or columns, that are apart: a part of a larger tensor."""
    given = sides(np.random.default_rng(2), dtype, SHAPE)
    S = compressed(cusparselt, given.W, gpu)
    m, n, k = SHAPE
    X, Y = (torch.full((rows + 8, n + 8), 7.0).to(torch_dtype(dtype)).to(gpu) for rows in (k, m))
    X, Y = (
        by_columns(t) if turned else t for t, turned in ((X, x_by_columns), (Y, out_by_columns))
    )
    X[:k, :n] = on_device(given.X, gpu)
    part = Y[:m, :n]
    assert cusparselt.matmul(S, X[:k, :n], out=part) is part
    oracle.check(back(part), lt.product(given, dtype), dtype)
    assert (back(Y[m:]) == 7).all()
    assert (back(Y[:, n:]) == 7).all()


@pytest.mark.parametrize(("dtype", "default"), [(F16, F16), (I8, INT32), (E4M3, BF16)], ids=str)
def test_linear_of_more_axes(dtype, default, cusparselt, gpu):
    given = sides(np.random.default_rng(3), dtype, SHAPE)
    S = compressed(cusparselt, given.W, gpu)
    x = on_device(np.ascontiguousarray(given.X.T).reshape(2, 8, -1), gpu)
    y = cusparselt.linear(x, S)
    assert y.shape == (2, 8, 32)
    got = back(y).reshape(16, 32).T
    oracle.check(got, expected(given, default), dtype)


def test_layer_of_int8_with_scales(cusparselt, gpu):
    given = sides(np.random.default_rng(4), I8, SHAPE)
    S = compressed(cusparselt, given.W, gpu)
    rng = np.random.default_rng(5)
    # Powers of two, so that every result is exact before it is rounded.
    scale = 2.0 ** -rng.integers(6, 12, 32).astype(F32)
    x = on_device(np.ascontiguousarray(given.X.T), gpu)
    want = np.maximum(given.X.T.astype(np.float64) @ given.W.T.astype(np.float64) * scale, 0)
    for out in (I8, F16, BF16):
        factors, dtype = tensor(scale, gpu), torch_dtype(out)
        y = cusparselt.linear(x, S, out_dtype=dtype, scale=factors, activation="relu")
        rounded = np.minimum(np.rint(want), 127) if out == I8 else want
        np.testing.assert_array_equal(back(y), rounded.astype(out))


@pytest.mark.parametrize(
    ("dtype", "out"), [(F16, F16), (BF16, BF16), (F32, F32), (E4M3, F16), (E4M3, F32)], ids=str
)
def test_bias_and_relu(dtype, out, cusparselt, gpu):
    given = sides(np.random.default_rng(6), dtype, SHAPE)
    bias = np.random.default_rng(7).standard_normal(32).astype(out)
    S, X = compressed(cusparselt, given.W, gpu), by_columns(on_device(given.X, gpu))
    y = {"out_dtype": torch_dtype(out), "activation": "relu"}
    Y = cusparselt.matmul(S, X, bias=tensor(bias, gpu), **y)
    want = lt.product(given, out)
    shifted = want.value + bias.astype(np.float64)[:, None]
    unit = 2 * oracle.unit(out) * (1 + np.abs(shifted))
    near = oracle.Expected(np.maximum(shifted, 0), out, want.tolerance + unit)
    oracle.check(back(Y), near, (dtype, out))


@pytest.mark.parametrize(("dtype", "out"), [(I8, I8), (E4M3, BF16)], ids=str)
def test_gelu(dtype, out, cusparselt, gpu):
    given = sides(np.random.default_rng(8), dtype, SHAPE)
    S = compressed(cusparselt, given.W, gpu)
    X = by_columns(on_device(given.X, gpu))
    scale = 2.0**-8 if dtype == I8 else 1.0
    factors = {"scale": torch.full((32,), scale).to(gpu)} if dtype == I8 else {}
    Y = cusparselt.matmul(S, X, out_dtype=torch_dtype(out), activation="gelu", **factors)
    sums = torch.from_numpy(lt.product(given, F32).value * scale)
    want = torch.nn.functional.gelu(sums, approximate="tanh").numpy()
    got = back(Y).astype(np.float64)
    if out == I8:
        assert (np.abs(got - np.clip(want, -128, 127)) <= 0.501).all()
    else:
        np.testing.assert_allclose(got, want, rtol=2**-7, atol=2**-7)


@pytest.mark.parametrize("dtype", [F16, BF16, F32, E4M3], ids=str)
def test_negative_zero_pushes_no_value_out(dtype, cusparselt, gpu):
    """The library takes -0.0 for a number; a group with two others would lose one."""
    given = sides(np.random.default_rng(9), dtype, SHAPE)
    W = np.where(given.W == 0, dtype.type(-0.0), given.W)
    S = compressed(cusparselt, W, gpu)
    X = by_columns(on_device(given.X, gpu))
    out = BF16 if dtype == E4M3 else dtype
    oracle.check(back(cusparselt.matmul(S, X)), lt.product(given, out), dtype)


def test_minus_128_is_not_a_zero(cusparselt, gpu):
    """Its bits are those of a sign alone."""
    W = np.zeros((32, 32), I8)
    W[np.arange(32), np.arange(32)] = -128
    eye = on_device(np.eye(32, dtype=I8), gpu)
    Y = cusparselt.matmul(compressed(cusparselt, W, gpu), by_columns(eye))
    np.testing.assert_array_equal(back(Y), W.astype(np.int32))


def test_matrix_of_any_strides_is_compressed(cusparselt, gpu):
    given = sides(np.random.default_rng(10), F16, SHAPE)
    wide = torch.zeros(64, 2 * 32 + 1).to(torch.float16).to(gpu)
    wide[:, 1::2] = on_device(np.ascontiguousarray(given.W.T), gpu)
    S = cusparselt.compress(wide[:, 1::2].t())
    oracle.check(
        back(cusparselt.matmul(S, on_device(given.X, gpu))), lt.product(given, F16), "strides"
    )


def test_nothing_to_multiply(cusparselt, gpu):
    S = compressed(cusparselt, sides(np.random.default_rng(11), F16, SHAPE).W, gpu)
    Y = cusparselt.matmul(S, torch.zeros(64, 0).to(torch.float16).to(gpu))
    assert Y.shape == (32, 0)


def test_what_is_compressed_says_what_it_is(cusparselt, gpu):
    S = compressed(cusparselt, sides(np.random.default_rng(12), BF16, SHAPE).W, gpu)
    assert (S.shape, S.dtype, S.device.type) == ((32, 64), torch.bfloat16, gpu.type)
    assert S.nbytes >= 32 * 64 * 2 * 9 // 16
    assert S.version.count(".") == 2
