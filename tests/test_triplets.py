"""Triplets -> CSR and the transpose, at sizes and shapes that reach every branch of the sort."""

import numpy as np
import pytest

import sparsecore as sc
from oracle import BF16, DTYPES, F16, F32, F64, I8, Array

# One bucket and many; 32-bit, 64-bit and 128-bit keys; rows and columns of each stored width.
SHAPES = [
    (1, 1),
    (1, 70_000),
    (3, 70_000),  # rows that several buckets share
    (70_000, 1),
    (300, 200),
    (2_000, 3),
    (9_000, 9_000),
]
WIDE = [(5, 1 << 20), (1 << 8, 1 << 40), (1 << 12, 1 << 62), (3, (1 << 63) - 1)]


def drawn(
    shape: tuple[int, int], count: int, dtype: np.dtype, seed: int, spread: float = 1.0
) -> tuple[Array, Array, Array]:
    """Draw triplets; about one in ten repeats the coordinate of another, far or near."""
    rng = np.random.default_rng([seed, count, *(size % (1 << 31) for size in shape)])
    row, col = (
        rng.integers(0, max(1, int(size * spread)), count, dtype=np.int64) for size in shape
    )
    again = rng.integers(0, max(count, 1), count // 10)
    row[: len(again)], col[: len(again)] = row[again], col[again]
    # Sums of a few are exact in fp16 and fit int8 but for the smallest shapes.
    return rng.integers(-3, 4, count).astype(dtype), row, col


def expected(data: Array, row: Array, col: Array) -> tuple[Array, Array, Array]:
    """Return float64 sums, rows and columns of the distinct coordinates, in canonical order."""
    order = np.lexsort((col, row))
    row, col, data = row[order], col[order], data[order].astype(np.float64)
    if not len(row):
        return data, row, col
    starts = np.flatnonzero(np.r_[True, (np.diff(row) != 0) | (np.diff(col) != 0)])
    return np.add.reduceat(data, starts), row[starts], col[starts]


def check(A: sc.CSR, triplets: tuple[Array, Array, Array], shape: tuple[int, int]) -> None:
    A.check()
    sums, row, col = expected(*triplets)
    assert A.shape == shape
    assert A.dtype == triplets[0].dtype
    np.testing.assert_array_equal(A.indices, col.astype(np.uint64))
    np.testing.assert_array_equal(np.diff(A.indptr.astype(np.int64)).nonzero()[0], np.unique(row))
    np.testing.assert_array_equal(A.tocoo().row, row)
    np.testing.assert_array_equal(A.data.astype(np.float64), sums)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("count", [0, 1, 7, 513, 20_000])
@pytest.mark.parametrize("shape", [*SHAPES, *WIDE], ids=str)
def test_triplets(shape, count, threads):
    for dtype in (F64, F32, BF16) if shape[0] * shape[1] > count else (F64,):
        triplets = drawn(shape, count, dtype, seed=1)
        with_threads(threads, lambda t=triplets: check(csr(t, shape), t, shape))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_dtype_moves_whole(dtype):
    shape = (500, 800)
    triplets = drawn(shape, 5_000, dtype, seed=2)
    check(csr(triplets, shape), triplets, shape)


@pytest.mark.parametrize("spread", [1e-4, 1e-3, 0.1])
def test_entries_in_a_corner(spread):
    shape = (1_000_000, 1_000_000)
    triplets = drawn(shape, 30_000, F64, seed=3, spread=spread)
    check(csr(triplets, shape), triplets, shape)


def test_bits_of_single_entries_are_kept():
    bits = np.array([0x8000, 0x7E01, 0xFC00, 0x0001], np.uint16)  # -0.0, NaN, -inf, subnormal
    A = sc.COO((bits.view(F16), ([3, 1, 2, 0], [0, 0, 0, 0])), shape=(4, 1)).tocsr()
    assert A.data.view(np.uint16).tolist() == [0x0001, 0x7E01, 0xFC00, 0x8000]


def test_negative_zeros_stay_negative_in_a_sum():
    A = sc.COO((np.array([-0.0, -0.0]), ([0, 0], [0, 0])), shape=(1, 1)).tocsr()
    assert np.signbit(A.data).tolist() == [True]


@pytest.mark.parametrize("order", ["sorted", "rows sorted", "reversed"])
@pytest.mark.parametrize("repeated", [False, True])
def test_inputs_in_some_order(order, repeated):
    shape = (700, 900)
    place = np.sort(np.random.default_rng(4).choice(shape[0] * shape[1], 9_000, replace=repeated))
    row, col = place // shape[1], place % shape[1]
    if order == "rows sorted":
        col = shape[1] - 1 - col
    step = -1 if order == "reversed" else 1
    triplets = np.arange(9_000.0)[::step], row[::step], col[::step]
    A = csr(triplets, shape)
    check(A, triplets, shape)
    assert not np.shares_memory(A.data, triplets[0])


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(3, 200), (300, 400), (70_000, 3), *WIDE], ids=str)
def test_sorted_inputs_with_duplicates(shape, dtype):
    """Runs cross the windows of 512 entries that are read at once."""
    for count in (2, 513, 1_100, 5_000):
        data, row, col = drawn(shape, count, dtype, seed=10)
        data, order = data // 3, np.lexsort((col, row))
        triplets = data, row[order], col[order]
        check(csr(triplets, shape), triplets, shape)
        if len(expected(*triplets)[0]) < count:
            with pytest.raises(ValueError, match="duplicate entry at row"):
                sc.COO((data, triplets[1:]), shape).tocsr("error")


def test_sorted_duplicates_of_values_that_track_gradients():
    torch = pytest.importorskip("torch")
    data = torch.arange(1.0, 6, dtype=torch.float64, requires_grad=True)
    A = sc.COO((data, ([0, 0, 1, 1, 1], [1, 1, 0, 2, 2])), shape=(2, 3)).tocsr()
    assert A.data.tolist() == [3, 3, 9]
    (A.data * torch.tensor([1.0, 10, 100])).sum().backward()
    assert data.grad.tolist() == [1, 1, 10, 100, 100]


def test_one_coordinate_very_often():
    count = 50_000
    ones = np.ones(count)
    A = sc.COO((ones, (np.full(count, 7), np.full(count, 9))), shape=(10, 10)).tocsr()
    assert (A.nnz, A.data[0], A.indices[0]) == (1, count, 9)


def test_a_bucket_that_is_the_whole_matrix():
    """More entries than are sorted between two looks for an interrupt."""
    count = (1 << 22) + 100
    col = np.random.default_rng(10).integers(0, 1000, count)
    A = sc.COO((np.ones(count), (np.zeros(count, np.int64), col)), shape=(1, 1 << 40)).tocsr()
    np.testing.assert_array_equal(A.indices, np.arange(1000))
    np.testing.assert_array_equal(A.data, np.bincount(col))


def test_results_do_not_depend_on_threads():
    shape = (5_000, 5_000)
    data, row, col = drawn(shape, 200_000, F32, seed=5)
    data = np.random.default_rng(5).standard_normal(len(data)).astype(F32)
    made = [with_threads(n, lambda: csr((data, row, col), shape)) for n in (1, 2, 7)]
    for other in made[1:]:
        assert other.data.tobytes() == made[0].data.tobytes()
        assert other._structure.equals(made[0]._structure)


@pytest.mark.parametrize("count", [3, 5_000])
def test_errors_name_the_coordinate(count):
    row, col = np.arange(count)[::-1], np.arange(count)[::-1]
    row[-1] = col[-1] = 2  # beside the entry of row 2
    A = sc.COO((np.full(count, 100, I8), (row, col)), shape=(count, count))
    with pytest.raises(ValueError, match="duplicate entry at row 2, column 2"):
        A.tocsr("error")
    with pytest.raises(OverflowError, match=r"row 2, column 2 sum to 200, outside int8"):
        A.tocsr()


def test_the_first_of_several_errors_is_named():
    """Whichever thread finds one first."""
    shape = (3_000, 3_000)
    _, row, col = drawn(shape, 100_000, I8, seed=8)
    A = sc.COO((np.full(100_000, 100, I8), (row, col)), shape)
    key, count = np.unique(row * 3_000 + col, return_counts=True)
    first = key[count > 1][0]
    place = f"row {first // 3_000}, column {first % 3_000}"
    for threads in (1, 2, 5):
        for _ in range(5):
            with pytest.raises(ValueError, match=f"duplicate entry at {place};"):
                with_threads(threads, lambda: A.tocsr("error"))
            with pytest.raises(OverflowError, match=f"duplicates at {place} sum to"):
                with_threads(threads, A.tocsr)


def test_an_error_after_sums_that_fit():
    data = np.array([50, 50, 100, 100, 1], I8)
    A = sc.COO((data, ([0, 0, 0, 0, 1], [0, 0, 1, 1, 0])), shape=(2, 2))
    for threads in (1, 3):
        with pytest.raises(OverflowError, match="row 0, column 1 sum to 200"):
            with_threads(threads, A.tocsr)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("count", [0, 1, 513, 20_000])
@pytest.mark.parametrize("shape", [*SHAPES, *WIDE, (1 << 32, 1 << 32), (1 << 62, 1 << 62)], ids=str)
def test_sum_duplicates(shape, count, threads):
    data, row, col = drawn(shape, count, F64, seed=9)
    A = sc.COO((data, (row, col)), shape)
    S = with_threads(threads, A.sum_duplicates)
    sums, rows, cols = expected(data, row, col)
    np.testing.assert_array_equal(S.row, rows)
    np.testing.assert_array_equal(S.col, cols)
    np.testing.assert_array_equal(S.data, sums)
    assert (S.row.dtype, S.col.dtype) == (A.row.dtype, A.col.dtype)
    for index in (S.row, S.col):
        with pytest.raises(ValueError, match="WRITEABLE"):
            index.flags.writeable = True


def test_sum_duplicates_names_the_row_where_int8_overflows():
    for rows in (3, 1 << 40):
        A = sc.COO((np.full(2, 100, I8), ([rows - 1] * 2, [2, 2])), shape=(rows, 5))
        with pytest.raises(OverflowError, match=f"row {rows - 1}, column 2 sum to 200"):
            A.sum_duplicates()


def test_values_that_no_longer_fit_are_refused():
    torch = pytest.importorskip("torch")
    for length in (2, 5):
        values = torch.nn.Parameter(torch.ones(3))
        A = sc.COO((values, ([0, 1, 2], [0, 1, 2])), shape=(3, 5))
        B = sc.CSR((values, [0, 1, 2], [0, 1, 2, 3]), shape=(3, 5))
        values.data = torch.ones(length)
        for use in (A.sum_duplicates, A.to_torch, lambda A=A: A.append([1.0], ([0], [0]))):
            with pytest.raises(ValueError, match=rf"\({length},\), expected \(3,\)"):
                use()
        for use in (B.T.tocsr, B.to_torch, B.tocoo):
            with pytest.raises(ValueError, match=rf"\({length},\), expected \(3,\)"):
                use()


def test_negative_zeros_of_tensors_stay_negative_in_a_sum():
    torch = pytest.importorskip("torch")
    values = torch.tensor([-0.0, -0.0], requires_grad=True)
    A = sc.COO((values, ([0, 0], [0, 0])), shape=(1, 1))
    assert np.signbit(A.tocsr().data.detach().numpy()).tolist() == [True]


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("bad", [-1, 1 << 33, 40])
def test_a_coordinate_outside_names_its_position(axis, bad):
    position = [np.arange(2_000) % 40, np.arange(2_000) % 40]
    position[axis][1_234] = bad
    name = ("row", "column")[axis]
    with pytest.raises(
        IndexError, match=rf"COO: {name} index {bad} at position 1234 is outside \[0, 40\)"
    ):
        sc.COO((np.ones(2_000), tuple(position)), shape=(40, 40))


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize(
    "shape",
    [*SHAPES, (40, 200_000), (200_000, 200_000), (1 << 12, 1 << 20)],
    ids=str,
)
def test_transpose(shape, threads):
    for dtype in (F64, BF16):
        data, row, col = drawn(shape, 4_000, dtype, seed=6)
        A = csr((data, row, col), shape)
        made = with_threads(threads, lambda A=A: A.T.tocsr())
        check(made, (data, col, row), shape[::-1])


def test_gradients_pass_through_the_sort_and_the_sum():
    torch = pytest.importorskip("torch")
    shape = (30, 200_000)
    data, row, col = drawn(shape, 4_000, F64, seed=7)
    weights = np.random.default_rng(7).standard_normal(shape[0])
    leaf = torch.tensor(data, requires_grad=True)
    A = sc.COO((leaf, (row, col)), shape).tocsr()
    T = A.T.tocsr()
    (T.data * torch.tensor(weights)[T.tocoo().col]).sum().backward()
    np.testing.assert_array_equal(leaf.grad.numpy(), weights[row])
    np.testing.assert_array_equal(A.data.detach().numpy(), expected(data, row, col)[0])


def csr(triplets: tuple[Array, Array, Array], shape: tuple[int, int]) -> sc.CSR:
    data, row, col = triplets
    return sc.COO((data, (row, col)), shape).tocsr()


def with_threads(threads, body):
    before = sc.get_num_threads()
    sc.set_num_threads(threads)
    try:
        return body()
    finally:
        sc.set_num_threads(before)
