"""Matrices and right sides to multiply: every dtype mix, memory order and awkward shape."""

from __future__ import annotations

import math
import mmap
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import sparsecore as sc
from oracle import BF16, F16, F32, F64, I8, Array, DType, Float64


@dataclass(frozen=True, slots=True)
class Mix:
    """A dtype of values, one of right sides, and whether the rows get factors."""

    values: DType
    x: DType
    scaled: bool = False

    def __str__(self) -> str:
        """Return the name that the tests go by."""
        scale = "+scale" if self.scaled else ""
        return f"{self.values.name}{scale}@{self.x.name}"


SAME = [Mix(dtype, dtype) for dtype in (F64, F32, F16, BF16, I8)]
NARROW = [Mix(F16, F32), Mix(BF16, F32)]
SCALED = [Mix(I8, dtype, scaled=True) for dtype in (F64, F32, F16, BF16)]
MIXES = [*SAME, *NARROW, *SCALED]
FLOAT_MIXES = [mix for mix in MIXES if mix.x != I8]


# ---- memory orders ----

LAYOUTS = (
    "C",
    "F",
    "strided",
    "negative",
    "misaligned",
    "read-only",
    "broadcast rows",
    "broadcast columns",
)


# What lies between and around the elements of a strided view.
BESIDE = 77


def misaligned(array: Array) -> Array:
    """Return a C-ordered copy one byte off the address that its items want."""
    raw = np.empty(array.nbytes + 1, np.uint8)
    copy = raw[1:].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


def spread(array: Array) -> Array:
    """Return a view, equal to `array`, on every second row and third column of a larger array."""
    steps = list(zip((2, 3), array.shape, strict=False))
    wide = np.full([step * (size + 1) for step, size in steps], BESIDE, array.dtype)
    view = wide[tuple(slice(1, 1 + step * size, step) for step, size in steps)]
    view[...] = array
    return view


def laid_out(X: Array, layout: str) -> Array:
    """Return X in a memory order; broadcast ones repeat its first row or column."""
    backwards = tuple(slice(None, None, -1) for _ in X.shape)
    if layout == "F":
        return np.asfortranarray(X)
    if layout == "strided":
        return spread(X)
    if layout == "negative":
        return np.ascontiguousarray(X[backwards])[backwards]
    if layout == "misaligned":
        return misaligned(X)
    if layout == "read-only":
        X = X.copy()
        X.flags.writeable = False
        return X
    if layout == "broadcast rows":
        return np.broadcast_to(X[:1], X.shape) if X.shape[0] else X
    if layout == "broadcast columns":
        return np.broadcast_to(X[:, :1], X.shape) if X.ndim == 2 and X.shape[1] else X
    return np.ascontiguousarray(X)


# ---- values ----


def numbers(rng: np.random.Generator, shape: Any, dtype: DType) -> Array:
    """Return random non-zero numbers: all of int8's range, else near 1."""
    if dtype == I8:
        drawn = rng.integers(-128, 128, shape).astype(I8)
    else:
        drawn = rng.standard_normal(shape).astype(dtype)
    return np.where(drawn == 0, dtype.type(1), drawn)


def random_dense(
    rng: np.random.Generator, shape: tuple[int, int], density: float, dtype: DType
) -> Array:
    """Return a dense matrix with about `density` non-zeros."""
    return np.where(rng.random(shape) < density, numbers(rng, shape, dtype), dtype.type(0))


def factors(rng: np.random.Generator, rows: int, dtype: DType) -> Array:
    """Return row factors small enough that int8 sums times fp16 numbers stay finite."""
    return (rng.standard_normal(rows) / 64).astype(dtype)


def reserved(shape: tuple[int, ...], dtype: Any) -> Array:
    """Return zeros that take memory only where they are touched, or skip the calling test."""
    nbytes = math.prod(shape) * np.dtype(dtype).itemsize
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_NORESERVE", 0x4000)
    try:
        memory = mmap.mmap(-1, nbytes, flags=flags)
    except OSError as error:
        pytest.skip(f"the system does not reserve {nbytes} bytes of address space: {error}")
    return np.frombuffer(memory, dtype).reshape(shape)


# ---- matrices under test ----


@dataclass(frozen=True, slots=True)
class Operand:
    """A left matrix beside what it stands for.

    Attributes
    ----------
    matrix : what the product is given
    W : (m, k) float64
    stored : (m, k) bool
        The positions that take part.
    """

    matrix: Any
    W: Float64
    stored: Array


Make = Callable[[Array], Operand]


def csr(W: Array) -> Operand:
    return Operand(sc.CSR.from_dense(W), W.astype(np.float64), W != 0)


def transposed(W: Array) -> Operand:
    """Return a matrix equal to W whose stored form is W.T."""
    return Operand(sc.CSR.from_dense(np.ascontiguousarray(W.T)).T, W.astype(np.float64), W != 0)


def packed(W: Array) -> Operand:
    prepared = sc.CSR.from_dense(W).prepare(kernel="packed_sweep")
    return Operand(prepared, W.astype(np.float64), W != 0)


def block_permuted(W: Array) -> Operand:
    prepared = sc.CSR.from_dense(W).prepare(kernel="block_permute")
    return Operand(prepared, W.astype(np.float64), W != 0)


def plan(W: Array) -> Operand:
    return Operand(sc.CSR.from_dense(W).prepare(), W.astype(np.float64), W != 0)


def sparse24(W: Array) -> Operand:
    """Return the 2:4 matrix of the first two non-zeros of each group of W."""
    m, k = W.shape
    padded = np.zeros((m, -(-k // 4) * 4), W.dtype)
    padded[:, :k] = W
    groups = padded.reshape(m, -(-k // 4), 4)
    W = np.where(np.cumsum(groups != 0, axis=2) <= 2, groups, 0).reshape(padded.shape)[:, :k]
    S = sc.Sparse24.from_dense(np.ascontiguousarray(W.astype(padded.dtype)))
    return Operand(S, W.astype(np.float64), slots(S.metadata, k))


def slots(metadata: Array, k: int) -> Array:
    """Return where a 2:4 matrix with k columns has slots: two of each group's four columns."""
    m, groups = len(metadata), -(-k // 4)
    nibbles = np.stack([metadata & 15, metadata >> 4], axis=2).reshape(m, 2 * metadata.shape[1])[
        :, :groups
    ]
    stored = np.zeros((m, 4 * groups), dtype=bool)
    for place in (nibbles & 3, nibbles >> 2):
        np.put_along_axis(stored, 4 * np.arange(groups) + place, values=True, axis=1)
    return stored[:, :k]


def multiply(matrix: Any, X: Any, **options: Any) -> Any:
    """Multiply by the function that the matrix belongs to."""
    if isinstance(matrix, sc.Sparse24):
        return sc.sparse24_matmul(matrix, X, **options)
    return sc.csr_matmul(matrix, X, **options)
