"""How much memory this process has in use, and had at most: Linux's own count."""

import ctypes
import gc
from pathlib import Path

__all__ = ["Growth", "read_status"]

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
# Of clear_refs: begin the peak of resident memory anew.
_RESET_PEAK = "5"


def read_status(field: str) -> int:
    """Return a size of /proc/self/status, such as VmRSS, in bytes."""
    for line in _STATUS.read_text(encoding="ascii").splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return 1024 * int(value.split()[0])
    msg = f"/proc/self/status has no {field}"
    raise RuntimeError(msg)


class Growth:
    """By how much resident memory has grown since this was made."""

    def __init__(self) -> None:
        _give_back()
        _CLEAR.write_text(_RESET_PEAK, encoding="ascii")
        self._before = read_status("VmRSS")

    def peak(self) -> int:
        """Return the largest growth until now, in bytes."""
        return read_status("VmHWM") - self._before

    def kept(self) -> int:
        """Return the growth that is left when all that is free was given back, in bytes."""
        _give_back()
        return read_status("VmRSS") - self._before


def _give_back() -> None:
    gc.collect()
    libc = ctypes.CDLL(None)
    if hasattr(libc, "malloc_trim"):  # glibc's
        libc.malloc_trim(0)
