"""Matrices on a CUDA device beside what scipy makes of the same arrays."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import scipy.sparse

import sparsecore as sc
from oracle import Array
from sparsecore import interop
from sparsecore.cuda.structure import DeviceStructure

Arrays: TypeAlias = tuple[Array, Array, Array]  # data, indices, indptr
Triplets: TypeAlias = tuple[Array, Array, Array]  # data, row, col


def there(array: Array, gpu: Any) -> Any:
    """Return a copy of an array as a tensor on the device."""
    return interop.as_tensor(np.array(array)).to(gpu)


def back(x: Any) -> Array:
    return interop.to_host(x)


def csr_there(arrays: Arrays, shape: tuple[int, int], gpu: Any, **options: Any) -> sc.CSR:
    return sc.CSR(tuple(there(array, gpu) for array in arrays), shape, **options)


def coo_there(triplets: Triplets, shape: tuple[int, int], gpu: Any) -> sc.COO:
    data, row, col = (there(array, gpu) for array in triplets)
    return sc.COO((data, (row, col)), shape)


def canonical(matrix: Any) -> Any:
    """Return scipy's own canonical CSR of a matrix with small integer values."""
    made = scipy.sparse.csr_array(matrix)
    made.sum_duplicates()
    made.sort_indices()
    return made


def width(largest: int) -> int:
    """Return the bytes of the smallest unsigned integer that holds `largest`."""
    return np.min_scalar_type(largest).itemsize


def assert_is(A: sc.CSR, expected: Any) -> None:
    """Check a matrix on a device against scipy's, in every part, and what it says of itself."""
    structure = A._structure
    assert isinstance(structure, DeviceStructure)
    assert A.shape == expected.shape
    assert A.nnz == structure.nnz == expected.nnz
    indices, indptr = back(structure.indices), back(structure.indptr)
    assert np.array_equal(indices, expected.indices)
    assert np.array_equal(indptr, expected.indptr)
    assert np.array_equal(back(A.data).astype(np.float64), expected.data.astype(np.float64))
    assert indices.itemsize == width(max(A.shape[1] - 1, 0))
    assert indptr.itemsize == width(A.nnz)
    assert structure.nbytes == indices.nbytes + indptr.nbytes
    A.check()
    longest = np.diff(indptr.astype(np.int64)).max(initial=0)
    assert (structure.csr.pieces > A.shape[0]) == (longest > 256)  # of matrices below 2^19 entries


def random_arrays(rng: np.random.Generator, shape: tuple[int, int], nnz: int) -> Triplets:
    """Return triplets in any order, coordinates repeated by chance; the values are exact."""
    row, col = (rng.integers(0, size, nnz) for size in shape)
    return rng.integers(-9, 10, nnz).astype(np.float32), row, col


def compressed(triplets: Triplets, rows: int) -> Arrays:
    """Return triplets as CSR arrays whose rows are not sorted."""
    data, row, col = triplets
    order = np.argsort(row, kind="stable")
    indptr = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=rows))])
    return data[order], col[order], indptr


def one_long_row(rng: np.random.Generator) -> Triplets:
    """Return nine rows of which one has several pieces, one exactly one, and some nothing."""
    lengths = {1: 1100, 2: 256, 3: 257, 7: 1}
    row = np.concatenate([np.full(length, r) for r, length in lengths.items()])
    col = np.concatenate([rng.permutation(1100)[:length] for length in lengths.values()])
    return rng.integers(1, 9, len(row)).astype(np.float32), row, col
