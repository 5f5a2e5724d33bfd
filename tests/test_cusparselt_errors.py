"""What products by cuSPARSELt refuse, before the library is called."""

import math

import numpy as np
import pytest

from cusparselt_cases import E4M3, I8, on_device, sides
from oracle import F16, F32

torch = pytest.importorskip("torch", reason="torch is not installed")

pytestmark = pytest.mark.gpu

M, N, K = SHAPE = (32, 16, 64)


def zeros(*shape, dtype=torch.float16):
    return torch.zeros(shape, dtype=torch.float32).to(dtype)


class Make:
    """Tensors on the device."""

    def __init__(self, gpu):
        self.gpu = gpu

    def __call__(self, *shape, dtype=torch.float16):
        return torch.zeros(shape, dtype=dtype, device=self.gpu)

    def moved(self, *shape, by):
        """Return one that begins `by` items after an aligned address."""
        return self(math.prod(shape) + by)[by:].view(shape)


F32_, F64_ = torch.float32, torch.float64
# Of a float16 S: arguments, the error, and words of its message.
BAD = [
    (lambda z: {"X": z(K + 1, N)}, ValueError, "X has 65 rows, S has 64 columns"),
    (
        lambda z: {"X": z(K, 12)},
        ValueError,
        "X has 12 columns, expected a multiple of 8 for float16",
    ),
    (lambda z: {"X": z(K)}, TypeError, "X has 1 dimensions, expected 2"),
    (lambda z: {"X": z(K, N, dtype=F32_)}, TypeError, "X is float32, S is float16"),
    (lambda z: {"X": z(K, N, dtype=F64_)}, TypeError, "X has dtype float64"),
    (lambda z: {"X": z(K, 2 * N)[:, ::2]}, ValueError, r"X has strides \(32, 2\), expected rows"),
    (lambda z: {"X": z(K, N + 3)[:, :N]}, ValueError, "X has 19 items from one row to the next"),
    (lambda z: {"X": z.moved(K, N, by=1)}, ValueError, "X does not begin at a multiple of 16 byt"),
    (lambda z: {"X": z(K, 1).expand(K, N)}, ValueError, r"X has strides \(1, 0\)"),
    (lambda z: {"out": z(M, N + 8)}, ValueError, r"out has shape \(32, 24\), expected \(32, 16\)"),
    (lambda z: {"out": z(M, N, dtype=F32_)}, TypeError, "no product of float16 that gives float32"),
    (lambda z: {"out": z.moved(M, N, by=4)}, ValueError, "out does not begin at a multiple"),
    (lambda _: {"out_dtype": torch.int32}, TypeError, "no product of float16 that gives int32"),
    (lambda z: {"scale": z(M, dtype=F32_)}, ValueError, "scale is for int8"),
    (
        lambda z: {"bias": z(M - 1)},
        ValueError,
        r"bias has shape \(31,\), expected 32 contiguous it",
    ),
    (lambda z: {"bias": z(2 * M)[::2]}, ValueError, "expected 32 contiguous items"),
    (lambda z: {"bias": z(M, 1)}, TypeError, "bias has 2 dimensions, expected 1"),
    (lambda z: {"bias": z(M, dtype=F32_)}, TypeError, "bias is float32, expected float16"),
    (lambda z: {"bias": z.moved(M, by=2)}, ValueError, "bias does not begin at a multiple of 16"),
    (
        lambda _: {"activation": "silu"},
        ValueError,
        "activation is 'silu', expected None, 'relu' or",
    ),
    (lambda _: {"activation": "gelu"}, ValueError, "gelu is for int8 that gives int8"),
    (lambda _: {"X": np.zeros((K, N), F16)}, TypeError, "X is a ndarray, expected a tensor of a C"),
    (lambda z: {"out": z(M, N).requires_grad_()}, RuntimeError, "out requires grad"),
]


@pytest.mark.parametrize(("given", "error", "words"), BAD, ids=[row[2] for row in BAD])
def test_bad_operands(given, error, words, cusparselt, gpu):
    make = Make(gpu)
    S = cusparselt.compress(make(M, K))
    with pytest.raises(error, match=words):
        cusparselt.matmul(S, **{"X": make(K, N)} | given(make))


def test_out_that_overlaps(cusparselt, gpu):
    room = zeros(K + M, N).to(gpu)
    S = cusparselt.compress(zeros(M, K).to(gpu))
    for begin in (0, M, K - 1):
        with pytest.raises(ValueError, match="matmul: out overlaps X in memory"):
            cusparselt.matmul(S, room[:K], out=room[begin : begin + M])
    column = zeros(M, N).to(gpu)
    with pytest.raises(ValueError, match="matmul: out overlaps bias in memory"):
        cusparselt.matmul(S, room[:K], out=column, bias=column.view(-1)[:M])
    cusparselt.matmul(S, room[:K], out=room[K:])


def test_eight_bits_go_by_columns(cusparselt, gpu):
    for dtype in (torch.int8, torch.float8_e4m3fn):
        S = cusparselt.compress(zeros(M, K, dtype=dtype).to(gpu))
        with pytest.raises(ValueError, match=r"pass X\.t\(\)\.contiguous\(\)\.t\(\)"):
            cusparselt.matmul(S, zeros(K, N, dtype=dtype).to(gpu))
        with pytest.raises(ValueError, match="linear: x has 8 rows, expected a multiple of 16"):
            cusparselt.linear(zeros(8, K, dtype=dtype).to(gpu), S)


def test_a_bias_of_int8_is_not_guessed(cusparselt, gpu):
    make = Make(gpu)
    S = cusparselt.compress(make(M, K, dtype=torch.int8))
    x, bias = make(N, K, dtype=torch.int8), make(M, dtype=torch.float32)
    with pytest.raises(ValueError, match="linear: bias is not for int8: add it afterwards"):
        cusparselt.linear(x, S, bias, out_dtype=torch.float16)


def test_int8_sums_that_might_not_fit(cusparselt, gpu):
    W = Make(gpu)(32, 262144 + 32, dtype=torch.int8)
    with pytest.raises(OverflowError, match="W has 262176 columns, an int8 product takes 262142"):
        cusparselt.compress(W)


@pytest.mark.parametrize(
    ("dtype", "kind"), [(F16, "2:4"), (I8, "2:4"), (E4M3, "2:4"), (F32, "1:2")]
)
def test_matrix_with_too_many_nonzeros(dtype, kind, cusparselt, gpu):
    W = sides(np.random.default_rng(1), dtype, SHAPE).W
    W[5, 8:12] = dtype.type(1)
    W[20, 0:4] = dtype.type(1)
    with pytest.raises(ValueError, match=rf"row 5, group \d+ \(columns 8 to .*not {kind}"):
        cusparselt.compress(on_device(W, gpu), tf32=True)


def test_matrix_that_cannot_be_compressed(cusparselt, gpu):
    for shape, words in (((24, 64), "24 rows, expected a multiple of 16"), ((16, 0), "0 columns")):
        with pytest.raises(ValueError, match=f"compress: W has {words}"):
            cusparselt.compress(zeros(*shape).to(gpu))
    with pytest.raises(TypeError, match="W is float32, of which products are TF32"):
        cusparselt.compress(zeros(32, 64, dtype=torch.float32).to(gpu))
    with pytest.raises(TypeError, match="W has dtype float64"):
        cusparselt.compress(zeros(32, 64, dtype=torch.float64).to(gpu))
    with pytest.raises(TypeError, match="W is int32"):
        cusparselt.compress(torch.zeros(32, 64, dtype=torch.int32).to(gpu))
