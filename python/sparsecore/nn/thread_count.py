"""How many threads torch and sparsecore use, for the time of a measurement."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from sparsecore import ops
from sparsecore.threads import checked

__all__ = ["using_threads"]


@contextmanager
def using_threads(count: int | None, *, name: str) -> Iterator[None]:
    """Let torch and sparsecore use so many threads; None leaves both as they are.

    Parameters
    ----------
    count : int or None
    name : str
        What the error messages call the count, e.g. ``"sparsify_: threads"``.

    Raises
    ------
    ValueError, TypeError
        If `count` is no integer of at least 1.

    Examples
    --------
    >>> with using_threads(1, name="threads"):
    ...     torch.get_num_threads(), ops.get_num_threads()
    (1, 1)
    """
    if count is None:
        yield
        return
    of_torch = torch.get_num_threads()
    torch.set_num_threads(checked(count, name=name))
    ours = ops.get_num_threads()
    try:
        # Set only where it does not follow torch anyway: there is no way to set that again.
        if ours != count:
            ops.set_num_threads(count)
        yield
    finally:
        torch.set_num_threads(of_torch)
        if ours != count:
            ops.set_num_threads(ours)
