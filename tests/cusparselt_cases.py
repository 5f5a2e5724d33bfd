"""Tests of cuSPARSELt: the library that they call, and 2:4 matrices of its dtypes.

Where the device is emulated the library is the one of tests/fake_cusparselt, which multiplies on
the processor and takes notice of whatever its caller must not do.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import cases
import oracle
import sparsecore as sc
from device_cases import tensor
from oracle import BF16, F16, F32
from sparsecore import _core
from sparsecore.cuda.libraries import open_cusparselt

FAKE = Path(_core.__file__).with_name("_core_fake_cusparselt.so")
I8 = np.dtype(np.int8)
E4M3 = np.dtype(ml_dtypes.float8_e4m3fn)
# What the library multiplies, and what that gives.
RESULTS = {
    F16: (F16,),
    BF16: (BF16,),
    F32: (F32,),
    I8: (np.dtype(np.int32), I8, F16, BF16),
    E4M3: (BF16, F16, F32),
}


class Fake:
    """What the fake library has seen."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL(str(FAKE))
        for name in ("calls", "violations", "living"):
            getattr(self._library, f"fake_cusparselt_{name}").restype = ctypes.c_int64
        self._library.fake_cusparselt_last_violation.restype = ctypes.c_char_p

    def calls(self, name: str) -> int:
        return int(self._library.fake_cusparselt_calls(name.encode()))

    def violations(self) -> int:
        return int(self._library.fake_cusparselt_violations())

    def last_violation(self) -> str:
        return str(self._library.fake_cusparselt_last_violation().decode())

    def living(self) -> int:
        """Count handles, descriptors, selections and plans that are not destroyed."""
        return int(self._library.fake_cusparselt_living())

    def set_device(self, device: int) -> None:
        self._library.fake_cusparselt_set_device(device)


def opened(patch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """Yield sparsecore.cuda.cusparselt, or skip; in the end nothing was done that must not be."""
    from sparsecore.cuda import cusparselt

    if not _core.cuda_is_emulated:
        library = sc.cuda.libraries()["cusparselt"]
        if not library.found:
            pytest.skip(library.reason)
        yield cusparselt
        return
    patch.setenv("SPARSECORE_CUSPARSELT", str(FAKE))
    open_cusparselt.cache_clear()
    seen = Fake()
    before = seen.violations()
    yield cusparselt
    open_cusparselt.cache_clear()
    assert seen.violations() == before, seen.last_violation()


def fake() -> Fake:
    """Return the fake library, or skip."""
    if not _core.cuda_is_emulated:
        pytest.skip("the fake library works on the memory of an emulated device only")
    return Fake()


def in_threads(body: Callable[[], Any], count: int = 1) -> list[Any]:
    """Return body() of each of some threads, which have no handle yet, when they are gone.

    A thread gives its handle back a little later than Python says that it has ended.
    """
    with ThreadPoolExecutor(count) as pool:
        results = [future.result() for future in [pool.submit(body) for _ in range(count)]]
        tasks = [Path(f"/proc/self/task/{thread.native_id}") for thread in pool._threads]
    deadline = time.monotonic() + 60
    while any(task.exists() for task in tasks):
        assert time.monotonic() < deadline, "a thread does not end"
        time.sleep(0.001)
    return results


# ---- data ----


@dataclass(frozen=True, slots=True)
class Sides:
    """Arrays of a product, on the host."""

    W: Any
    X: Any


def sides(rng: np.random.Generator, dtype: Any, shape: tuple[int, int, int]) -> Sides:
    """Return W (m, k), with groups of every allowed pattern, and X (k, n)."""
    m, n, k = shape
    size = 2 if dtype == F32 else 4
    order = rng.random((m, k // size, size)).argsort(axis=-1)
    kept = (order < rng.integers(0, size // 2 + 1, (m, k // size, 1))).reshape(m, k)
    kept[0] = (order[0] < size // 2).ravel()  # one row is full
    drawn = dtype if dtype != E4M3 else F32
    W = np.where(kept, cases.numbers(rng, (m, k), drawn).astype(dtype), dtype.type(0))
    X = cases.numbers(rng, (k, n), drawn)
    return Sides(W, (X // 8 if dtype == I8 else X).astype(dtype))  # sums that fit float16


def on_device(array: Any, gpu: Any) -> Any:
    """Return an array as a tensor, of float8, too."""
    if array.dtype != E4M3:
        return tensor(array, gpu)
    import torch

    return tensor(array.view(np.uint8), gpu).view(torch.float8_e4m3fn)


def torch_dtype(dtype: Any) -> Any:
    import torch

    return getattr(torch, dtype.name)


def product(given: Sides, out: Any) -> oracle.Expected:
    """Return W @ X in float64, and the error that its dtypes allow."""
    want = oracle.product(given.W.astype(np.float64), given.W != 0, given.X, out)
    if given.W.dtype != F32:
        return want
    # TF32: each operand is rounded to 10 bits of mantissa, which is 2^-11 of it.
    magnitude = np.abs(given.W.astype(np.float64)) @ np.abs(given.X.astype(np.float64))
    return oracle.Expected(want.value, want.dtype, want.tolerance + 2.01 * 2.0**-11 * magnitude)
