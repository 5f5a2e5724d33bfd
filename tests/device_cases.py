"""Tests of the CUDA side: the device that they run on, real or emulated, and what they compare.

Data are made on the host, moved by ``.to(gpu)`` and compared there, in float64: the same tests run
on a device and by the emulation of one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import cases
import oracle
import sparsecore as sc
from sparsecore import _core, interop


def device(patch: pytest.MonkeyPatch) -> Any:
    """Return the torch.device to make tensors on; skip where there is none.

    In an emulated build that is the processor. Every tensor then takes the way of a device's, and
    whoever reads one without `interop.to_host` is refused as he would be there.
    """
    torch = pytest.importorskip("torch", reason="torch is not installed")
    if _core.cuda_is_emulated:
        _emulate(patch)
        return torch.device("cpu", 0)  # "cpu" itself is the host, for `A.to`
    if not sc.cuda.is_available():
        pytest.skip(sc.cuda.reason())
    if not torch.cuda.is_available():
        pytest.skip("this torch has no CUDA")
    return torch.device("cuda")


def _emulate(patch: pytest.MonkeyPatch) -> None:
    of_arrays = interop.to_numpy

    def to_numpy(x: object, *, name: str) -> interop.Array:
        if interop.is_tensor(x):
            msg = f"{name} is on device 'emulated', expected 'cpu'"
            raise TypeError(msg)
        return of_arrays(x, name=name)

    patch.setattr(interop, "to_numpy", to_numpy)
    patch.setattr(interop, "on_device", interop.is_tensor)


# ---- matrices and what they are multiplied by ----


def tensor(array: oracle.Array, gpu: Any) -> Any:
    """Return an array as a tensor on the device, in its memory order."""
    return interop.as_tensor(np.asarray(array)).to(gpu)


def on(A: sc.CSR, gpu: Any) -> sc.CSR:
    """Return a matrix of numpy's as one on the device."""
    return A.to(gpu)


def back(result: Any) -> oracle.Array:
    """Return a result as an array on the host."""
    return interop.to_host(result)


@dataclass(frozen=True, slots=True)
class Operand:
    """A matrix on the device, and what it is in float64."""

    matrix: sc.CSR
    W: oracle.Float64
    stored: oracle.Array


@dataclass(frozen=True, slots=True)
class Operand24:
    """A 2:4 matrix on the device, what it is in float64, and where it has slots."""

    matrix: sc.Sparse24
    W: oracle.Float64
    stored: oracle.Array


def random_operand(
    rng: np.random.Generator, shape: tuple[int, int], density: float, dtype: Any, gpu: Any
) -> Operand:
    """Return a matrix with about `density` non-zeros."""
    return operand(cases.random_dense(rng, shape, density, dtype), gpu)


def operand(dense: oracle.Array, gpu: Any) -> Operand:
    """Return the non-zeros of a dense matrix."""
    A = sc.CSR.from_dense(dense)
    return Operand(on(A, gpu), dense.astype(np.float64), dense != 0)


def sparse24_operand(
    rng: np.random.Generator, shape: tuple[int, int], dtype: Any, gpu: Any
) -> Operand24:
    """Return a 2:4 matrix with about 60 % of the nonzeros that it could have."""
    made = cases.sparse24(cases.random_dense(rng, shape, 0.6, dtype))
    return Operand24(made.matrix.to(gpu), made.W, made.stored)


def with_long_rows(rng: np.random.Generator, dtype: Any) -> oracle.Array:
    """Return a dense matrix with rows of several pieces, of exactly one or two, and of nothing.

    Pieces hold 256 entries at least (csrc/cuda/pieces.h).
    """
    dense = np.zeros((9, 1100), dtype)
    for row, entries in ((1, 1100), (2, 256), (3, 257), (5, 512), (7, 1)):
        dense[row, :entries] = cases.numbers(rng, entries, dtype)
    return dense
