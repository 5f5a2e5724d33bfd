"""npz: written and read back, what scipy sees of ours, and what is read of scipy's."""

import io

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given
from numpy.lib import format as npy

import sparsecore as sc
from file_cases import NPZ_DTYPES, matrices, npz
from format_cases import EXAMPLES_SHARE_FIXTURES, LECTURE, lecture


@EXAMPLES_SHARE_FIXTURES
@given(matrices(formats=("coo", "csr"), dtypes=NPZ_DTYPES))
def test_round_trip(tmp_path, A):
    path = tmp_path / "A.npz"
    sc.save(path, A)
    made = sc.load(str(path))
    assert type(made) is type(A)
    assert made.equals(A)


@pytest.mark.parametrize("dtype", NPZ_DTYPES, ids=str)
@pytest.mark.parametrize("fmt", ["csr", "coo"])
def test_scipy_reads_ours(tmp_path, fmt, dtype):
    A = lecture(dtype)
    sc.save(tmp_path / "A.npz", A if fmt == "csr" else A.tocoo())
    made = scipy.sparse.load_npz(tmp_path / "A.npz")
    assert isinstance(made, scipy.sparse.sparray)
    assert (made.format, made.dtype) == (fmt, dtype)
    np.testing.assert_array_equal(made.astype(np.float64).toarray(), LECTURE)


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize(
    "matrix",
    [
        scipy.sparse.csr_array(LECTURE),
        scipy.sparse.csr_matrix(LECTURE.astype(np.float32)),
        scipy.sparse.coo_matrix(LECTURE.astype(np.int8)),
        # Unsorted, with a coordinate twice.
        scipy.sparse.csr_array((np.ones(3), [2, 0, 2], [0, 3]), shape=(1, 3)),
        scipy.sparse.csr_array((3, 5)),
    ],
    ids=["array", "matrix", "coo", "not canonical", "empty"],
)
def test_scipys_are_read(tmp_path, matrix, compressed):
    scipy.sparse.save_npz(tmp_path / "A.npz", matrix, compressed=compressed)
    A = sc.load(tmp_path / "A.npz")
    assert A.format == matrix.format
    assert A.dtype.isnative
    np.testing.assert_array_equal(A.toarray(), matrix.toarray())


@pytest.mark.parametrize("fmt", ["csc", "bsr", "dia"])
def test_scipys_other_formats_are_refused_by_name(tmp_path, fmt):
    scipy.sparse.save_npz(tmp_path / "A.npz", scipy.sparse.csr_array(LECTURE).asformat(fmt))
    with pytest.raises(ValueError, match=rf"A\.npz.*'{fmt}'"):
        sc.load(tmp_path / "A.npz")


def test_scipys_other_dtypes_are_refused_by_name(tmp_path):
    scipy.sparse.save_npz(tmp_path / "A.npz", scipy.sparse.csr_array(LECTURE.astype(np.int64)))
    with pytest.raises(ValueError, match=r"A\.npz.*int64"):
        sc.load(tmp_path / "A.npz")


@pytest.mark.parametrize(
    "A",
    [lecture("bfloat16"), lecture("float16").tocoo(), sc.Sparse24.from_dense(LECTURE)],
    ids=["bfloat16", "float16", "2:4"],
)
def test_what_it_cannot_hold_is_refused_by_name(tmp_path, A):
    with pytest.raises(TypeError, match=r"npz cannot hold.*safetensors"):
        sc.save(tmp_path / "A.npz", A)
    assert list(tmp_path.iterdir()) == []


def test_foreign_byte_order(tmp_path):
    members = {"data": lecture().data.astype(">f8"), "indptr": np.array([0, 2, 3, 5, 6], ">i4")}
    A = sc.load(npz(tmp_path / "A.npz", **members))
    assert A.dtype.isnative
    assert A.equals(lecture())


def test_npy_version_2(tmp_path):
    stream = io.BytesIO()
    npy.write_array(stream, np.array(lecture().data), version=(2, 0))
    assert sc.load(npz(tmp_path / "A.npz", data=stream.getvalue())).equals(lecture())
