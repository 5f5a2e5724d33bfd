"""What a matrix of every format says of itself: its bytes, its repr, why it does not turn dense."""

import numpy as np
import pytest

from format_cases import lecture, two_groups_24, unordered
from oracle import F16, F32, F64, I8


@pytest.mark.parametrize(
    ("A", "expected"),
    [
        (
            unordered(I8),
            "<COO 2x4, nnz=3 (density 37.5%), int8, rows uint8, columns uint8, 9 bytes>",
        ),
        (
            lecture(F16),
            "<CSR 4x4, nnz=6 (density 37.5%), float16, columns uint8, offsets uint8, 23 bytes>",
        ),
        (
            two_groups_24(F16),
            "<Sparse24 2x8, nnz=8 (density 50%), float16, metadata uint8, 18 bytes>",
        ),
    ],
    ids=["coo", "csr", "sparse24"],
)
def test_repr_is_one_line(A, expected):
    assert repr(A) == expected


@pytest.mark.parametrize(
    ("A", "fmt", "shape", "nnz", "density", "parts", "total", "dense"),
    [
        (unordered(I8), "coo", (2, 4), 3, 0.375, (3, 3, 3), 9, 8),
        (lecture(F32), "csr", (4, 4), 6, 0.375, (24, 6, 5), 35, 64),
        (two_groups_24(F16), "sparse24", (2, 8), 8, 0.5, (16, 2, 0), 18, 32),
    ],
    ids=["coo", "csr", "sparse24"],
)
def test_properties(A, fmt, shape, nnz, density, parts, total, dense):
    assert (A.format, A.shape, A.nnz, A.device) == (fmt, shape, nnz, "cpu")
    assert (A.density, A.sparsity) == (density, 1 - density)
    storage = A.storage()
    assert (storage.values, storage.columns, storage.row_offsets) == parts
    assert (storage.total, storage.dense, storage.ratio) == (total, dense, total / dense)


@pytest.mark.parametrize(
    ("A", "nbytes"),
    [(unordered(F64), 64), (lecture(F64), 128), (lecture(F64).T, 128), (two_groups_24(F32), 64)],
    ids=["coo", "csr", "transposed", "sparse24"],
)
def test_asarray_refuses_and_names_the_way_and_its_bytes(A, nbytes):
    with pytest.raises(TypeError, match=rf"A\.toarray\(\).*{nbytes} bytes"):
        np.asarray(A)
