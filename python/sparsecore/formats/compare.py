"""Equality and closeness of matrices: the same question for every format."""

from dataclasses import dataclass

import numpy as np

from sparsecore import interop
from sparsecore.formats import convert
from sparsecore.interop import Array, Values


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How near two values must be: ``|a - b| <= atol + rtol * |b|``, as in numpy.allclose."""

    rtol: float
    atol: float
    equal_nan: bool

    def holds(self, a: Values, b: Values) -> bool:
        """Whether all values of `a` are near those of `b`, compared in float64."""
        a, b = _float64(a), _float64(b)
        return np.allclose(a, b, rtol=self.rtol, atol=self.atol, equal_nan=self.equal_nan)


def same_values(a: Values, b: Values) -> bool:
    """Whether dtypes, shapes and values agree; NaN equals NaN, and -0.0 equals 0.0."""
    a, b = _on_host(a), _on_host(b)
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    # Only NaN differs from itself; this form works for every dtype, those of ml_dtypes included.
    both_nan = (a != a) & (b != b)
    return bool(((a == b) | both_nan).all())


def close_triplets(
    a: tuple[Values, Array, Array],
    b: tuple[Values, Array, Array],
    shape: tuple[int, int],
    tolerance: Tolerance,
) -> bool:
    """Whether two sets of (data, row, col) stand for nearly the same matrix.

    An entry that one side does not store is 0 there, and duplicates are summed (in float64).
    """
    data_a, data_b = _float64(a[0]), _float64(b[0])
    row, col = np.concatenate([a[1], b[1]]), np.concatenate([a[2], b[2]])
    in_a = np.concatenate([data_a, np.zeros_like(data_b)])
    in_b = np.concatenate([np.zeros_like(data_a), data_b])
    sums = (convert.sum_triplets(data, (row, col), shape)[1] for data in (in_a, in_b))
    return tolerance.holds(*sums)


def _float64(values: Values) -> Array:
    return _on_host(values).astype(np.float64)


def _on_host(values: Values) -> Array:
    if interop.on_device(values):
        return interop.to_host(values)
    return interop.to_numpy(values, name="values")
