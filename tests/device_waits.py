"""How often calls wait for the device, as the emulation and torch count it."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
from torch.autograd.profiler import profile

from sparsecore import _core, interop

# torch's functions that read what they return from the device, or a size that they need.
READERS = frozenset(
    f"aten::{name}"
    for name in (
        *("_local_scalar_dense", "equal", "is_nonzero", "item", "masked_select", "nonzero"),
        *("unique_consecutive", "_unique2", "bincount"),
    )
)


@dataclass(slots=True)
class Waits:
    """Of calls: what waited for the device.

    Attributes
    ----------
    synchronizations, copies : int
        cudaStreamSynchronize and the like, and copies to the host, of our kernels' host side.
    with_gil : int
        Those of both that kept other Python threads from running.
    torch : tuple of str
        torch's functions, and ours by which arrays come to the host.
    """

    synchronizations: int = 0
    copies: int = 0
    with_gil: int = 0
    torch: tuple[str, ...] = ()


def skip_if_not_counted() -> None:
    """Skip on a device: there nobody counts, and the capture of a graph is what shows a wait."""
    if not _core.cuda_is_emulated:
        pytest.skip("only the emulation counts what waits")


@contextmanager
def counted(patch: pytest.MonkeyPatch) -> Iterator[Waits]:
    """Count what waits inside the block."""
    library = ctypes.CDLL(_core.__file__)
    library.simt_waits.restype = ctypes.c_long
    has_gil = ctypes.cast(ctypes.pythonapi.PyGILState_Check, ctypes.c_void_p)
    found, read = Waits(), []
    of_tensors = interop.to_host

    def to_host(tensor: object) -> interop.Array:
        read.append("to_host")
        return of_tensors(tensor)

    with patch.context() as inner:
        inner.setattr(interop, "to_host", to_host)
        library.simt_ask_at_waits(has_gil)
        before = [library.simt_waits(kind) for kind in range(3)]
        try:
            with profile(use_cpu=True) as seen:
                yield found
        finally:
            after = [library.simt_waits(kind) for kind in range(3)]
            library.simt_ask_at_waits(None)
    counts = [now - then for now, then in zip(after, before, strict=True)]
    found.synchronizations, found.copies, found.with_gil = counts
    names = [event.name for event in seen.function_events if event.name in READERS]
    found.torch = (*read, *names)
