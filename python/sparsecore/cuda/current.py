"""The device, stream and memory that a call on CUDA tensors is made with: torch's."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from sparsecore import _core, interop


class Current(NamedTuple):
    """What the core is given besides arrays.

    Attributes
    ----------
    allocate : callable
        Takes a number of bytes, returns a uint8 tensor of torch's caching allocator.
    stream : int
        The caller's current stream, as a pointer.
    """

    allocate: Callable[[int], Any]
    stream: int


@contextmanager
def current(tensor: Any) -> Iterator[Current]:
    """Make the device of `tensor` the current one for a call of the core.

    Memory goes back to the allocator when its tensors are dropped: the allocator gives it to later
    work of the same stream only, so nothing waits for the kernels.

    Raises
    ------
    RuntimeError
        Where this sparsecore has no CUDA side.
    """
    torch = interop.import_torch()
    device = tensor.device

    def allocate(nbytes: int) -> Any:
        return torch.empty(nbytes, dtype=torch.uint8, device=device)

    if _core.cuda_is_emulated:
        yield Current(allocate, 0)
        return
    if not hasattr(_core, "DeviceCsr"):
        msg = f"a tensor is on device {str(device)!r}, and {_core.cuda_status()[1]}"
        raise RuntimeError(msg)
    with torch.cuda.device(device):
        yield Current(allocate, torch.cuda.current_stream(device).cuda_stream)
