"""The obvious answers in float64, and how far from them a correct result may lie."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import ml_dtypes
import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]
Float64: TypeAlias = npt.NDArray[np.float64]
DType: TypeAlias = np.dtype[Any]

F64 = np.dtype(np.float64)
F32 = np.dtype(np.float32)
F16 = np.dtype(np.float16)
BF16 = np.dtype(ml_dtypes.bfloat16)
I8 = np.dtype(np.int8)
I32 = np.dtype(np.int32)
FLOATING = (F64, F32, F16, BF16)
DTYPES = (*FLOATING, I8)


def unit(dtype: DType) -> float:
    """Return the unit roundoff: half the distance from 1 to the next number."""
    return float(ml_dtypes.finfo(dtype).eps) / 2


def result_dtype(values: DType, x: DType) -> DType:
    """Return the dtype of a product of values of one dtype with a right side of another."""
    return I32 if values == x == I8 else x


def accumulator(x: DType) -> DType:
    """Return the dtype in which a floating product is summed."""
    return F64 if x == F64 else F32


def gamma(terms: Any, dtype: DType) -> Any:
    """Return the relative bound of a sum of products, in any order, fused or not.

    gamma_k = k u / (1 - k u) (Higham, Accuracy and Stability of Numerical Algorithms, section 3.1).
    """
    share = terms * unit(dtype)
    return share / (1 - share)


@dataclass(frozen=True, slots=True)
class Expected:
    """A float64 result, the dtype it must have, and the error allowed for each element."""

    value: Float64
    dtype: DType
    tolerance: Float64


def expected(value: Float64, magnitude: Float64, terms: Any, dtype: DType) -> Expected:
    """Return what a floating result of `dtype` must be.

    The tolerance is ``(gamma_k(accumulator) + gamma_k(float64)) * magnitude + u(dtype) * |value|``
    and, for underflow, the smallest subnormals of the accumulator, k times, and of `dtype`. The
    second gamma is the oracle's own error. An int32 result must be exact.

    Parameters
    ----------
    value : array
    magnitude : array
        The sum of the absolute values of what was summed.
    terms : int or array
        k, the number of roundings on the way: products, additions and epilogue steps.
    dtype : the result's
    """
    if dtype == I32:
        return Expected(value, dtype, np.zeros_like(value))
    acc = accumulator(dtype)
    underflow = terms * float(ml_dtypes.finfo(acc).smallest_subnormal) + float(
        ml_dtypes.finfo(dtype).smallest_subnormal
    )
    with np.errstate(invalid="ignore"):
        tolerance = (gamma(terms, acc) + gamma(terms, F64)) * magnitude
        tolerance = tolerance + unit(dtype) * np.abs(value) + underflow
    return Expected(value, dtype, tolerance)


def product(
    W: Float64, stored: Array, X: Array, dtype: DType, scale: Array | None = None
) -> Expected:
    """Return ``W @ X`` of a matrix that holds something only where `stored` says so.

    Parameters
    ----------
    W : (m, k) float64
    stored : (m, k) bool
        Only these positions take part, whatever X holds at others.
    X : (k,) or (k, n), finite
    dtype : the result's
    scale : (m,), optional
        A factor of each row.
    """
    W = np.where(stored, W, 0.0)
    X = X.astype(np.float64)
    factor = np.ones(len(W)) if scale is None else scale.astype(np.float64)
    terms = stored.sum(axis=1) + 2
    if X.ndim == 2:
        factor, terms = factor[:, None], terms[:, None]
    value = (W @ X) * factor
    magnitude = (np.abs(W) @ np.abs(X)) * np.abs(factor)
    return expected(value, magnitude, terms, dtype)


def sampled(rows: Array, cols: Array, U: Array, V: Array) -> Expected:
    """Return ``U @ V.T`` at the given positions."""
    U, V, dtype = U.astype(np.float64), V.astype(np.float64), result_dtype(U.dtype, V.dtype)
    if U.ndim == 1:
        U, V = U[:, None], V[:, None]
    value = (U[rows] * V[cols]).sum(axis=1)
    magnitude = (np.abs(U[rows]) * np.abs(V[cols])).sum(axis=1)
    return expected(value, magnitude, U.shape[1] + 2, dtype)


def check(got: Array, want: Expected, case: object) -> None:
    """Assert shape, dtype and values; the message names the case and the worst element."""
    assert got.dtype == want.dtype, f"{case}: dtype {got.dtype}, expected {want.dtype}"
    assert got.shape == want.value.shape, f"{case}: shape {got.shape}, not {want.value.shape}"
    error = np.abs(got.astype(np.float64) - want.value)
    bad = ~(error <= want.tolerance)
    if bad.any():
        place = tuple(int(i) for i in np.unravel_index(np.argmax(bad), bad.shape))
        message = (
            f"{case}: {bad.sum()} of {bad.size} wrong, first at {place}: got {got[place]}, "
            f"expected {want.value[place]} within {want.tolerance[place]}"
        )
        raise AssertionError(message)


def bits(array: Array) -> Array:
    """Return the bits of an array as unsigned integers, so that -0.0 and NaN compare."""
    array = np.ascontiguousarray(array)
    return array.view(f"u{array.dtype.itemsize}")
