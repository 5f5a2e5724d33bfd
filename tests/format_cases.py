"""What tests of formats and files start from: the lecture's matrix, and drawn ones."""

from __future__ import annotations

from typing import Any, TypeAlias

import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck, settings

import cases
import sparsecore as sc
from oracle import DTYPES, I8, Array, Float64

Matrix: TypeAlias = sc.COO | sc.CSR | sc.Sparse24

FORMATS = {"coo": sc.COO, "csr": sc.CSR, "sparse24": sc.Sparse24}
ON_EACH_TARGET = pytest.mark.usefixtures("target")
EXAMPLES_SHARE_FIXTURES = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])

# 2:4 as it is.
LECTURE = np.array([[0.0, 3, 0, 7], [0, 0, 8, 0], [2, 5, 0, 0], [0, 0, 0, 9]])


def lecture(dtype: Any = np.float64) -> sc.CSR:
    return sc.CSR.from_dense(LECTURE.astype(dtype))


def unordered(dtype: Any = np.float64) -> sc.COO:
    """Return three entries, out of order, the first and the last at one coordinate."""
    return sc.COO((np.array([1, 2, 4], dtype), ([1, 0, 1], [2, 3, 2])), shape=(2, 4))


def two_groups(dtype: Any = np.float32) -> Array:
    """Return a dense 2:4 matrix with two groups of four in each row."""
    return np.array([[1, 0, 0, 2, 0, 3, 4, 0], [0, 0, 0, 5, 0, 0, 0, 0]], dtype)


def two_groups_24(dtype: Any = np.float32) -> sc.Sparse24:
    return sc.Sparse24.from_dense(two_groups(dtype))


def values_of(A: Matrix) -> Any:
    return A.values if isinstance(A, sc.Sparse24) else A.data


def summed(data: Array, row: Array, col: Array, shape: tuple[int, int]) -> Float64:
    """Return the dense matrix of triplets, repeated ones summed in float64."""
    dense = np.zeros(shape)
    np.add.at(dense, (row, col), data.astype(np.float64))
    return dense


# ---- drawn by hypothesis ----

# Exact in every dtype, zeros of both signs among them.
_NUMBERS = [0.0, 0.0, 0.0, -0.0, 1.0, -2.0, 96.0, -127.0]


@st.composite
def dense_matrices(draw: st.DrawFn) -> Array:
    """Draw a matrix of any dtype in any memory order."""
    dtype = draw(st.sampled_from(DTYPES))
    numbers = _NUMBERS if dtype == I8 else [*_NUMBERS, np.nan, np.inf, 0.5]
    shape = draw(st.tuples(st.integers(0, 12), st.integers(0, 12)))
    W = draw(hnp.arrays(np.float64, shape, elements=st.sampled_from(numbers))).astype(dtype)
    return cases.laid_out(W, draw(st.sampled_from(cases.LAYOUTS)))


@st.composite
def csr_arrays(draw: st.DrawFn) -> tuple[Float64, Array, Array, tuple[int, int]]:
    """Draw valid arrays in a random order within rows, duplicates among them."""
    m, n = draw(st.integers(0, 6)), draw(st.integers(1, 9))
    rows = [draw(st.lists(st.integers(0, n - 1), max_size=12)) for _ in range(m)]
    indptr = np.cumsum([0] + [len(row) for row in rows])
    indices = np.array([column for row in rows for column in row], dtype=np.int64)
    data = draw(hnp.arrays(np.float64, len(indices), elements=st.integers(-9, 9)))
    return data, indices, indptr, (m, n)


@st.composite
def triplets(draw: st.DrawFn) -> tuple[Array, Array, Array, tuple[int, int]]:
    """Draw triplets in any order, coordinates repeated; integers whose sums are exact in fp16."""
    m, n = draw(st.integers(1, 6)), draw(st.integers(1, 6))
    nnz = draw(st.integers(0, 20))
    dtype = draw(st.sampled_from(DTYPES))
    data = draw(hnp.arrays(np.int8, nnz, elements=st.integers(-6, 6))).astype(dtype)
    row = draw(hnp.arrays(np.int64, nnz, elements=st.integers(0, m - 1)))
    col = draw(hnp.arrays(np.int64, nnz, elements=st.integers(0, n - 1)))
    return data, row, col, (m, n)
