"""Dense tensors of a CUDA device to CSR and back, beside numpy."""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

import sparsecore as sc
from device_format_cases import assert_is, back, canonical, there
from oracle import DTYPES
from sparsecore import _core, interop

pytestmark = pytest.mark.gpu


def random_dense(shape, density, dtype, seed=0):
    rng = np.random.default_rng(seed)
    return (rng.integers(1, 9, shape) * (rng.random(shape) < density)).astype(dtype)


def assert_nonzeros(W, dense):
    """Check the matrix of a tensor that holds what the array `dense` does."""
    A = sc.CSR.from_dense(W)
    assert_is(A, canonical(dense.astype(np.float64)))
    assert A.dtype == W.dtype
    assert np.array_equal(back(A.toarray()).astype(np.float64), dense.astype(np.float64))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(6, 64), (5, 67), (64, 3)])
def test_every_dtype(gpu, dtype, shape):
    dense = random_dense(shape, 0.4, dtype)
    assert_nonzeros(there(dense, gpu), dense)


@pytest.mark.parametrize("shape", [(0, 0), (0, 7), (7, 0), (1, 1), (1, 2049), (3, 4096)])
@pytest.mark.parametrize("density", [0.0, 0.05, 1.0])
def test_shapes_and_densities(gpu, shape, density):
    dense = random_dense(shape, density, np.int8, seed=1)
    assert_nonzeros(there(dense, gpu), dense)


# ---- room for entries: half the matrix's bytes (csrc/cuda/dense_tiles.h) ----


@pytest.mark.parametrize("more", [-1, 0, 1])
def test_entries_around_what_has_room_in_the_first_pass(gpu, more):
    dense = np.zeros((16, 512), np.float32)  # two tiles; a column takes 2 bytes
    room = dense.nbytes // (2 * (4 + 2))
    dense.flat[np.random.default_rng(2).permutation(dense.size)[: room + more]] = 5
    assert_nonzeros(there(dense, gpu), dense)


@pytest.mark.parametrize("dtype", [np.int8, np.float16, np.float64])
@pytest.mark.parametrize("order", [1, -1])
def test_entries_that_come_all_at_one_end(gpu, dtype, order):
    """At the beginning they fill more of the room than is theirs there; at the end, in time."""
    for density in (0.2, 0.5):
        dense = np.zeros((64, 256), dtype)
        dense[: int(64 * density)] = 3
        assert_nonzeros(there(dense[::order], gpu), dense[::order])


# ---- the order in which blocks run ----


@contextmanager
def blocks(at_once: int, seed: int) -> Iterator[None]:
    """Begin so many blocks at once, the last first, and go on with one or the other of them."""
    if not _core.cuda_is_emulated:
        pytest.skip("a device has its own schedule")
    library = ctypes.CDLL(_core.__file__)
    library.simt_schedule(at_once, seed)
    try:
        yield
    finally:
        library.simt_schedule(1, 0)


@pytest.mark.parametrize(
    ("at_once", "seed", "tiles", "density"),
    [(1, 1, 3, 0.1), (2, 1, 5, 0.7), (3, 2, 5, 0.1), (40, 3, 41, 0.1), (40, 4, 5, 0.7)],
)
def test_tiles_that_are_counted_side_by_side(gpu, at_once, seed, tiles, density):
    """Of 41, some look for sums beyond the 32 before; at two densities, with and without room."""
    dense = random_dense((tiles, 2048), density, np.float64, seed)
    with blocks(at_once, seed):
        A = sc.CSR.from_dense(there(dense, gpu))
    host = sc.CSR.from_dense(dense)
    for got, want in ((A.indptr, host.indptr), (A.indices, host.indices), (A.data, host.data)):
        assert np.array_equal(back(got), want)


@pytest.mark.parametrize("cols", [256, 257, 65536])
def test_width_of_columns(gpu, cols):
    dense = np.zeros((2, cols), np.float16)
    dense[[0, 1], [cols - 1, 0]] = 3, 4
    assert_nonzeros(there(dense, gpu), dense)


def orders(W, gpu):
    """Yield a tensor in several memory orders, each with the array that it holds."""
    dense = back(W)
    yield W.T, dense.T
    yield W[1::2, 3::2], dense[1::2, 3::2]
    yield W.T[::3], dense.T[::3]
    yield W[:, 1:], dense[:, 1:]
    yield W[:1].expand(5, -1), np.repeat(dense[:1], 5, axis=0)
    yield W[:, :1].expand(-1, 40), np.repeat(dense[:, :1], 40, axis=1)
    yield there(dense[::-1, ::-1], gpu), dense[::-1, ::-1]


@pytest.mark.parametrize("dtype", [np.float64, np.float32, interop.VALUE_DTYPES["bfloat16"]])
def test_memory_orders(gpu, dtype):
    for W, dense in orders(there(random_dense((18, 36), 0.4, dtype), gpu), gpu):
        assert_nonzeros(W, dense)


@pytest.mark.parametrize("dtype", [d for d in DTYPES if d != np.int8])
def test_signed_zeros_and_nan(gpu, dtype):
    dense = np.array([[0.0, -0.0, np.nan, -np.nan], [np.inf, -np.inf, -1.0, 0.0]]).astype(dtype)
    A = sc.CSR.from_dense(there(dense, gpu))
    assert back(A.indices).tolist() == [2, 3, 0, 1, 2]
    assert back(A.data).tobytes() == np.concatenate([dense[0, 2:], dense[1, :3]]).tobytes()


def test_smallest_numbers_are_kept(gpu):
    for dtype in (np.float64, np.float32, np.float16):
        dense = np.full((1, 5), np.finfo(dtype).smallest_subnormal)
        assert sc.CSR.from_dense(there(dense, gpu)).nnz == 5
    assert sc.CSR.from_dense(there(np.array([[-128, 127, 0]], np.int8), gpu)).nnz == 2


def test_the_caller_keeps_his_tensor(gpu):
    dense = random_dense((4, 8), 0.5, np.float32)
    W = there(dense, gpu)
    A = sc.CSR.from_dense(W)
    W.zero_()
    assert np.array_equal(back(A.toarray()), dense)


def test_toarray_of_strided_values(gpu):
    data = there(np.arange(8.0), gpu)[::2]
    A = sc.CSR((data, [0, 1, 0, 1], [0, 2, 4]), (2, 2))
    assert back(A.toarray()).tolist() == [[0, 2], [4, 6]]


def test_a_matrix_too_large_for_memory_is_refused(gpu):
    A = sc.CSR((there(np.ones(1), gpu), [0], [0, 1]), (1, 2**62))
    with pytest.raises(MemoryError, match=r"CSR.toarray: .* too many to address"):
        A.toarray()


@pytest.mark.parametrize("ndim", [1, 3])
def test_axes(gpu, ndim):
    with pytest.raises(TypeError, match=f"CSR.from_dense: W has {ndim} axes, expected 2"):
        sc.CSR.from_dense(there(np.ones((2,) * ndim), gpu))


def test_integers_are_no_values(gpu):
    with pytest.raises(TypeError, match=r"W has dtype torch.int32, expected one of"):
        sc.CSR.from_dense(there(np.ones((2, 2), np.int32), gpu))
