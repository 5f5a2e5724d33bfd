"""How many threads the kernels use."""

import operator
import os
import sys

# 0: follow torch where it is loaded, else the cores this process may use.
_setting = 0


def set_num_threads(count: int) -> None:
    """Set the number of threads for every operation in the process, whichever thread calls it.

    Parameters
    ----------
    count : int
        At least 1. Results do not depend on it, bit for bit.

    Raises
    ------
    ValueError
        Where `count` is less than 1.

    Examples
    --------
    >>> import sparsecore as sc
    >>> before = sc.get_num_threads()
    >>> sc.set_num_threads(2)
    >>> sc.get_num_threads()
    2
    >>> sc.set_num_threads(before)
    """
    global _setting
    _setting = checked(count, name="set_num_threads: count")


def get_num_threads() -> int:
    """Return the number of threads that operations use where a call does not say.

    It is what `set_num_threads` was given, else ``torch.get_num_threads()`` where torch is loaded,
    else the number of cores that this process may use.
    """
    return _setting or _count()


def _count() -> int:
    torch = sys.modules.get("torch")
    if torch is not None:
        count: int = torch.get_num_threads()
        return count
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def resolved(threads: int | None, *, name: str) -> int:
    """Return a call's own number of threads, or the setting."""
    if threads is None:
        return _setting or _count()
    return checked(threads, name=f"{name}: threads")


def checked(count: int, *, name: str) -> int:
    """Return `count` as an int of at least 1; `name` starts the message."""
    try:
        number = operator.index(count)
    except TypeError:
        msg = f"{name} is a {type(count).__name__}, expected an integer"
        raise TypeError(msg) from None
    if not 1 <= number <= 4096:
        msg = f"{name} is {number}, expected 1 to 4096"
        raise ValueError(msg)
    return number
