"""2:4 values of 8 bits on tensor cores: csrc/cuda/tiles24.cu, by int8 products or widened."""

import ml_dtypes
import numpy as np
import pytest

import cases
import oracle
import sparsecore as sc
from device_cases import back, sparse24_operand, tensor
from oracle import BF16, F16, F32, I8, I32

torch = pytest.importorskip("torch", reason="torch is not installed")

pytestmark = [pytest.mark.gpu, pytest.mark.small]

E4M3, E5M2 = np.dtype(ml_dtypes.float8_e4m3fn), np.dtype(ml_dtypes.float8_e5m2)
SHORT = pytest.mark.parametrize("x_dtype", [F16, BF16], ids=str)
BYTES = pytest.mark.parametrize("dtype", [I8, E4M3, E5M2], ids=str)


def exact(given, X):
    return given.W.astype(np.int64) @ X.astype(np.int64)


def check_int8(given, X, what, **options):
    Y = sc.sparse24_matmul(given.matrix, X, **options)
    assert Y.dtype == torch.int32
    np.testing.assert_array_equal(back(Y), exact(given, back(X)), what)
    return given.matrix._structure.kernel


# ---- int8 by int8 ----


@pytest.mark.parametrize(
    ("shape", "widths"),
    [((1, 128), (0, 1, 33)), ((37, 128), (7, 9)), ((17, 640), (1, 16)), ((16, 1280), (8,))],
    ids=str,
)
def test_int8_sums_are_exact_for_any_number_of_columns_and_rows(shape, widths, gpu):
    """Fewer and more steps than a block has warps, rows and columns that fill no tile."""
    rng = np.random.default_rng(1)
    given = sparse24_operand(rng, shape, I8, gpu)
    for n in widths:
        X = cases.numbers(rng, (shape[1], n), I8)
        for layout in (tensor(X, gpu), tensor(np.asfortranarray(X), gpu)):
            kernel = check_int8(given, layout, f"n={n}, {layout.stride()}")
            assert kernel == "mma.sp int8"


def test_every_place_of_every_group_meets_its_column(gpu):
    """All six pairs of places in each of a step's 32 groups, for each of a tile's 16 rows."""
    pairs = [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]
    W = np.zeros((6 * 16, 128), I8)
    for row in range(len(W)):
        for group in range(32):
            first, second = pairs[(row + group) % 6]
            W[row, 4 * group + first], W[row, 4 * group + second] = group + 1, -row - 1
    S = sc.Sparse24.from_dense(tensor(W, gpu))
    # 128 columns of X that each ask for one of S.
    np.testing.assert_array_equal(back(S @ torch.eye(128, dtype=torch.int8, device=gpu)), W)


def test_the_largest_sums_of_int8(gpu):
    W = np.zeros((3, 1280), I8)
    W[:, ::2] = -128
    W[1] = -W[1] - (W[1] != 0)
    X = np.full((1280, 2), -128, I8)
    S = sc.Sparse24.from_dense(tensor(W, gpu))
    want = W.astype(np.int64) @ X.astype(np.int64)
    assert want.max() == 640 * 128**2
    np.testing.assert_array_equal(back(S @ tensor(X, gpu)), want)


def test_strided_right_sides_vectors_and_out(gpu):
    rng = np.random.default_rng(4)
    given = sparse24_operand(rng, (5, 128), I8, gpu)
    wide = tensor(cases.numbers(rng, (256, 11), I8), gpu)
    odd = tensor(cases.numbers(rng, (131, 131), I8), gpu)
    odd_lines = odd.t()  # lines of 131 bytes, which words of 4 do not fit
    for X in (wide[::2, 1:4], odd_lines[1:129, :3], odd_lines[:128, :3], odd[:128, 3]):
        assert check_int8(given, X, f"{X.stride()}") == "mma.sp int8"
    beside = torch.full((12, 20), 77, dtype=torch.int32, device=gpu)
    for out in (beside[1:6, 2:5], beside[3:6, 2:7].t(), beside[:10:2, :9:3]):
        check_int8(given, wide[:128, :3], out.stride(), out=out)
        out.fill_(77)
    assert (back(beside) == 77).all(), "something beside `out` was written"


def test_what_follows_int8_sums_as_on_the_host(gpu):
    rng = np.random.default_rng(5)
    given = sparse24_operand(rng, (20, 128), I8, gpu)
    x = tensor(cases.numbers(rng, (2, 5, 128), I8), gpu)
    residual = tensor(rng.integers(-9999, 9999, (2, 5, 20)).astype(I32), gpu)
    got = sc.linear(x, given.matrix, residual=residual)
    assert given.matrix._structure.kernel == "mma.sp int8"
    want = back(x).astype(np.int64) @ given.W.T.astype(np.int64) + back(residual)
    np.testing.assert_array_equal(back(got), want)
    for refused in ({"activation": "relu"}, {"bias": torch.ones(20, device=gpu)}):
        host = given.matrix.to("cpu")
        with pytest.raises(TypeError) as expected:
            sc.linear(back(x), host, **{name: _on_host(v) for name, v in refused.items()})
        with pytest.raises(TypeError) as found:
            sc.linear(x, given.matrix, **refused)
        assert str(found.value) == str(expected.value)


def _on_host(option):
    return option if isinstance(option, str) else back(option)


@pytest.mark.parametrize("shape", [(9, 64), (9, 192), (9, 124)], ids=str)
def test_int8_without_whole_steps_goes_to_the_plain_kernel(shape, gpu):
    rng = np.random.default_rng(6)
    given = sparse24_operand(rng, shape, I8, gpu)
    X = tensor(cases.numbers(rng, (shape[1], 9), I8), gpu)
    assert check_int8(given, X, shape) == "rows"


# ---- values of 8 bits by an X of 16 ----


@BYTES
@SHORT
def test_every_number_is_widened_exactly(dtype, x_dtype, gpu):
    """All 256 bit patterns, each in a row of its own, at every slot of a lane."""
    bits = np.arange(256, dtype=np.uint8)
    W = np.zeros((256, 64), np.uint8)
    columns = (bits.astype(np.int64) * 7) % 64
    W[np.arange(256), columns] = bits
    S = sc.Sparse24.from_dense(tensor(W.view(dtype), gpu))
    scale = torch.ones(256, device=gpu) if dtype == I8 else None
    X = torch.ones(64, 9, device=gpu).to(getattr(torch, x_dtype.name))
    Y = back(sc.sparse24_matmul(S, X, scale=scale))
    assert S._structure.kernel == "mma.sp widened"
    want = bits.view(dtype).astype(np.float32)
    np.testing.assert_array_equal(Y.astype(np.float32), np.repeat(want[:, None], 9, axis=1))


@BYTES
@SHORT
@pytest.mark.parametrize(
    ("shape", "n"), [((37, 64), 1), ((17, 320), 9), ((5, 576), 40), ((3, 1856), 2)], ids=str
)
def test_widened_products(dtype, x_dtype, shape, n, gpu):
    """Fewer steps than are loaded ahead, and more than twice as many."""
    rng = np.random.default_rng(n)
    given = sparse24_operand(rng, shape, dtype, gpu)
    scale = cases.factors(rng, shape[0], F32) if dtype == I8 else None
    moved = None if scale is None else tensor(scale, gpu)
    X = cases.numbers(rng, (shape[1], n), x_dtype)
    want = oracle.product(given.W, given.stored, X, x_dtype, scale)
    for layout in (tensor(X, gpu), tensor(np.asfortranarray(X), gpu)):
        Y = sc.sparse24_matmul(given.matrix, layout, scale=moved)
        assert given.matrix._structure.kernel == "mma.sp widened"
        oracle.check(back(Y), want, f"{dtype} by {x_dtype}, {layout.stride()}")


@SHORT
def test_what_follows_a_widened_product_and_the_same_bits(x_dtype, gpu):
    rng = np.random.default_rng(3)
    given = sparse24_operand(rng, (20, 192), I8, gpu)
    x = tensor(cases.numbers(rng, (2, 5, 192), x_dtype), gpu)
    scale = tensor(cases.factors(rng, 20, F32), gpu)
    bias = tensor(cases.numbers(rng, 20, x_dtype), gpu)
    residual = tensor(cases.numbers(rng, (2, 5, 20), x_dtype), gpu)
    options = {"residual": residual, "activation": "relu", "scale": scale}
    got = sc.linear(x, given.matrix, bias, **options)
    assert given.matrix._structure.kernel == "mma.sp widened"
    factors = back(scale).astype(np.float64)
    sums = back(x).astype(np.float64) @ given.W.T * factors
    wanted = np.maximum(sums + back(bias).astype(np.float64) + back(residual), 0)
    magnitude = np.abs(back(x).astype(np.float64)) @ np.abs(given.W.T) * np.abs(factors) + 8
    bound = 2 * oracle.unit(x_dtype) * magnitude
    assert (np.abs(back(got).astype(np.float64) - wanted) <= bound).all()
    assert torch.equal(got, sc.linear(x, given.matrix, bias, **options))


@BYTES
def test_other_shapes_and_right_sides_go_to_the_plain_kernel(dtype, gpu):
    rng = np.random.default_rng(7)
    for k, x_dtype in ((60, F16), (64, F32)):
        given = sparse24_operand(rng, (9, k), dtype, gpu)
        scale = cases.factors(rng, 9, F32) if dtype == I8 else None
        X = cases.numbers(rng, (k, 9), x_dtype)
        moved = None if scale is None else tensor(scale, gpu)
        Y = sc.sparse24_matmul(given.matrix, tensor(X, gpu), scale=moved)
        assert given.matrix._structure.kernel == "rows"
        want = oracle.product(given.W, given.stored, X, x_dtype, scale)
        oracle.check(back(Y), want, f"{k}, {x_dtype}")


@pytest.mark.parametrize("dtype", [I8, F16], ids=str)
def test_values_that_begin_elsewhere_go_to_the_plain_kernel(dtype, gpu):
    """Loads of 16 bytes need their multiples."""
    rng = np.random.default_rng(8)
    given = sparse24_operand(rng, (9, 128), dtype, gpu)
    room = torch.empty(given.matrix.values.numel() + 1, dtype=given.matrix.values.dtype, device=gpu)
    moved = room[1:].view(given.matrix.values.shape)
    moved.copy_(given.matrix.values)
    elsewhere = given.matrix.with_data(moved)
    X = cases.numbers(rng, (128, 9), dtype)
    Y = elsewhere @ tensor(X, gpu)
    assert elsewhere._structure.kernel == "rows"
    want = oracle.product(given.W, given.stored, X, oracle.result_dtype(dtype, dtype))
    oracle.check(back(Y), want, str(dtype))
