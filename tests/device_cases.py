"""Tests of the CUDA side: the device that they run on, real or emulated, and what they compare.

Data are made on the host, moved by ``.to(gpu)`` and compared there, in float64: the same tests run
on a device and by the emulation of one.
"""

from __future__ import annotations

from typing import Any

import pytest

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
