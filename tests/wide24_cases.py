"""Matrices of the kernel for 2:4 and many columns, with what they stand for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import cases
import oracle
import sparsecore as sc
from sparsecore import _core
from sparsecore.cuda.current import current


@dataclass(frozen=True)
class Packed:
    """A matrix of the kernel's, the arguments that it is of, and what it stands for."""

    metadata: Any
    values: Any
    wide: _core.DeviceWide24
    W: oracle.Float64
    stored: oracle.Array

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns)."""
        return self.W.shape[0], self.W.shape[1]

    def matmul(
        self, X: Any, out: Any, epilogue: Any = (None,) * 4, wide: _core.DeviceWide24 | None = None
    ) -> Any:
        """Write the product to `out`; epilogue: scale, bias, residual, activation."""
        with current(X) as (allocate, stream):
            (wide or self.wide).matmul(X, out, "sparse24_matmul", *epilogue, allocate, stream)
        return out

    def product(self, X: Any, wide: _core.DeviceWide24 | None = None) -> Any:
        """Return the product, row-major."""
        out = X.new_empty(self.shape[0], X.shape[1])
        return self.matmul(X, out, wide=wide)

    def with_values(self, values: Any) -> _core.DeviceWide24:
        """Return the matrix with other values."""
        return _wide(self.metadata, self.shape, values)


def packed(
    rng: np.random.Generator, shape: tuple[int, int], dtype: oracle.DType, gpu: Any
) -> Packed:
    """Return a matrix with about 60 % of what 2:4 can hold; skip where there is no such kernel."""
    made = cases.sparse24(cases.random_dense(rng, shape, 0.6, dtype))
    return packed_of(made.matrix.to(gpu), made.W, made.stored)


def packed_of(S: sc.Sparse24, W: oracle.Float64, stored: oracle.Array) -> Packed:
    """Return a matrix of the device, packed."""
    metadata, values = S.metadata.view(-1), S.values.view(-1)
    if not _core.device_has_wide24():
        pytest.skip("the device, or this build's code for it, has no wgmma")
    return Packed(metadata, values, _wide(metadata, S.shape, values), W, stored)


def _wide(metadata: Any, shape: tuple[int, int], values: Any) -> _core.DeviceWide24:
    with current(values) as (allocate, stream):
        return _core.DeviceWide24(metadata, shape, values, allocate, stream)


def by_columns(t: Any) -> Any:
    """Return the matrix in column-major memory."""
    return t.t().contiguous().t()
