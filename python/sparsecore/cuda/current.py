"""The device, stream and memory that a call on CUDA tensors is made with: torch's."""

from collections.abc import Callable, Iterable, Iterator
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
    work of the same stream only, so nothing waits for the kernels. (What is kept, and may be read
    on other streams, see `lend`.)

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
        yield Current(allocate, stream_of(device))
        return
    if not hasattr(_core, "DeviceCsr"):
        msg = f"a tensor is on device {str(device)!r}, and {_core.cuda_status()[1]}"
        raise RuntimeError(msg)
    with torch.cuda.device(device):
        yield Current(allocate, stream_of(device))


def stream_of(device: Any) -> int:
    """Return the caller's current stream of a device, as a pointer."""
    if _core.cuda_is_emulated:
        return 0
    stream: int = interop.import_torch().cuda.current_stream(device).cuda_stream
    return stream


def lend(tensors: Callable[[], Iterable[Any]], made_on: int, device: Any) -> None:
    """Let the current stream read memory that its owner may drop before the work is done.

    The allocator would give it to new work of the stream that it was made on, whatever others do.
    What only this package knows of, its users cannot name to it (`torch.Tensor.record_stream`).

    Parameters
    ----------
    tensors : callable
        Returns them; not called where the stream is theirs.
    made_on : int
        The stream that they were made on, of `stream_of`.
    device : torch.device
    """
    if stream_of(device) != made_on:
        for tensor in tensors():
            record(tensor, device)


def record(tensor: Any, device: Any) -> None:
    """Have the allocator wait for the current stream's work before it hands the memory on."""
    tensor.record_stream(interop.import_torch().cuda.current_stream(device))
