"""What matrices on a CUDA device refuse, in the words of the host for the same arrays."""

import numpy as np
import pytest

import sparsecore as sc
from device_format_cases import back, coo_there, csr_there, there

pytestmark = pytest.mark.gpu

BIG = np.array([2**40, 2, 3])


def message_of(make):
    with pytest.raises(Exception, match=r".") as caught:
        make()
    return caught.type, str(caught.value)


CSR_ARRAYS = {
    "too few offsets": ([0, 1, 2], [0, 2]),
    "too many offsets": ([0, 1, 2], [0, 1, 2, 2, 3]),
    "no offsets": ([0, 1, 2], np.zeros(0, np.int64)),
    "does not start at 0": ([0, 1, 2], [1, 2, 3, 3]),
    "decreases": ([0, 1, 2], [0, 2, 1, 3]),
    "decreases after leading outside": ([0, 1, 2], [0, 2**40, 0, 3]),
    "ends early": ([0, 1, 2], [0, 1, 2, 2]),
    "ends outside": ([0, 1, 2], [0, 1, 2, 4]),
    "negative offset": ([0, 1, 2], [0, -1, 2, 3]),
    "negative column": ([0, 1, -1], [0, 1, 2, 3]),
    "column outside": ([0, 4, 1], [0, 1, 2, 3]),
    "column far outside": (BIG, [0, 1, 2, 3]),
    "least column": ([0, 1, -(2**63)], [0, 1, 2, 3]),
    "duplicate": ([0, 2, 2], [0, 1, 3, 3]),
    "duplicate, unsorted": ([2, 1, 2], [0, 0, 3, 3]),
}


@pytest.mark.parametrize("width", [np.int32, np.int64])
@pytest.mark.parametrize("case", CSR_ARRAYS)
def test_bad_csr_arrays(gpu, case, width):
    indices, indptr = (np.asarray(part).astype(np.int64) for part in CSR_ARRAYS[case])
    if case not in ("column far outside", "least column", "decreases after leading outside"):
        indices, indptr = indices.astype(width), indptr.astype(width)
    arrays = np.ones(3), indices, indptr
    expected = message_of(lambda: sc.CSR(arrays, (3, 4)))
    assert message_of(lambda: csr_there(arrays, (3, 4), gpu)) == expected


def test_negative_offset_of_a_wide_int32_matrix(gpu):
    arrays = np.ones(1), np.array([-1], np.int32), np.array([0, 1], np.int32)
    expected = message_of(lambda: sc.CSR(arrays, (1, 2**33)))
    assert message_of(lambda: csr_there(arrays, (1, 2**33), gpu)) == expected


@pytest.mark.parametrize(
    ("row", "col"), [([0, 3], [0, 0]), ([0, -1], [0, 0]), ([0, 1], [0, 4]), ([0, 1], [-(2**40), 0])]
)
def test_bad_triplets(gpu, row, col):
    triplets = np.ones(2), np.array(row), np.array(col)
    expected = message_of(lambda: sc.COO((triplets[0], triplets[1:]), (3, 4)))
    assert message_of(lambda: coo_there(triplets, (3, 4), gpu)) == expected


@pytest.mark.parametrize("method", ["tocsr", "sum_duplicates", "toarray"])
def test_int8_sums_that_overflow(gpu, method):
    triplets = np.array([1, 100, 28], np.int8), np.array([1, 0, 0]), np.array([0, 2, 2])
    host = sc.COO((triplets[0], triplets[1:]), (3, 4))
    expected = message_of(getattr(host, method))
    assert expected[0] is OverflowError
    assert message_of(getattr(coo_there(triplets, (3, 4), gpu), method)) == expected


def test_int8_sums_at_the_limits(gpu):
    triplets = np.array([100, -100, 27, -28], np.int8), np.array([0, 1, 0, 1]), np.zeros(4, int)
    assert back(coo_there(triplets, (2, 1), gpu).toarray()).tolist() == [[127], [-128]]


def test_duplicates_of_triplets_refused(gpu):
    triplets = np.ones(3), np.array([1, 0, 1]), np.array([2, 0, 2])
    host = sc.COO((triplets[0], triplets[1:]), (3, 4))
    expected = message_of(lambda: host.tocsr("error"))
    assert message_of(lambda: coo_there(triplets, (3, 4), gpu).tocsr("error")) == expected


def test_unknown_policy(gpu):
    arrays = np.ones(1), np.zeros(1, int), np.array([0, 1])
    expected = message_of(lambda: sc.CSR(arrays, (1, 1), duplicates="keep"))
    assert message_of(lambda: csr_there(arrays, (1, 1), gpu, duplicates="keep")) == expected


@pytest.mark.parametrize("ids", [[0, 3], [-4], [0, 1, 2**40]])
def test_rows_outside(gpu, ids):
    host = sc.CSR((np.ones(2), [0, 1], [0, 1, 1, 2]), (3, 4))
    expected = message_of(lambda: host.gather_rows(ids))
    assert message_of(lambda: host.to(gpu).gather_rows(ids)) == expected
    assert message_of(lambda: host.to(gpu).gather_rows(there(ids, gpu))) == expected


@pytest.mark.parametrize("bad", [np.ones(3), np.ones(3, bool), np.ones((1, 3), int)])
@pytest.mark.parametrize("place", [1, 2])
def test_indices_that_are_no_integers(gpu, bad, place):
    arrays = [np.ones(3), np.arange(3), np.array([0, 2, 3])]
    arrays[place] = bad
    expected = message_of(lambda: sc.CSR(tuple(arrays), (2, 4)))
    assert message_of(lambda: csr_there(tuple(arrays), (2, 4), gpu)) == expected


@pytest.mark.parametrize("place", [1, 2])
def test_two_memories_are_named(gpu, place):
    arrays = [there(array, gpu) for array in (np.ones(2), np.arange(2), np.array([0, 2]))]
    arrays[place] = back(arrays[place])
    name = ("indices", "indptr")[place - 1]
    match = f"CSR: {name} is a numpy int64 array, the values are on device"
    with pytest.raises(TypeError, match=match):
        sc.CSR(tuple(arrays), (1, 4))


def test_values_of_the_other_memory(gpu):
    A = sc.CSR((np.ones(2), [0, 1], [0, 2]), (1, 4))
    with pytest.raises(TypeError, match=r"on device .*a numpy float64 array"):
        A.with_data(there(np.ones(2), gpu))
    with pytest.raises(TypeError, match=r"a numpy float64 array.*on device"):
        A.to(gpu).with_data(np.ones(2))
    with pytest.raises(TypeError, match=r"a numpy float64 array.*on device"):
        A.tocoo().to(gpu).append(np.ones(1), ([0], [0]))


def test_a_negated_view(gpu):
    negated = there(np.ones(2) * 1j, gpu).conj().imag
    assert negated.is_neg()
    with pytest.raises(TypeError, match="CSR: data is a negated view"):
        sc.CSR((negated, [0, 1], [0, 2]), (1, 4))


def test_a_sparse_tensor(gpu):
    sparse = there(np.eye(2), gpu).to_sparse_coo()
    with pytest.raises(TypeError, match=r"from_dense: W has layout torch.sparse_coo, expected"):
        sc.CSR.from_dense(sparse)


def test_coordinates_of_too_many_bits(gpu):
    with pytest.raises(ValueError, match="takes 64 bits, on a CUDA device at most 63"):
        coo_there((np.ones(1), np.array([0]), np.array([0])), (3, 2**62), gpu).tocsr()
    with pytest.raises(ValueError, match=r"fewer than 2\*\*32 rows"):
        coo_there((np.ones(1), np.array([0]), np.array([0])), (2**32, 2), gpu).tocsr()
