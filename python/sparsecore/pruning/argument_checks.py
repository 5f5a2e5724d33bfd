"""What numbers that are arguments have to be."""

from __future__ import annotations

from collections.abc import Iterable
from numbers import Real
from typing import TypeGuard

__all__ = ["is_iterable", "is_positive_integer", "is_real"]


def is_iterable(value: object) -> bool:
    """Whether ``for`` can go through a value: data sets may have ``__getitem__`` alone.

    Examples
    --------
    >>> is_iterable([1]), is_iterable(iter([1])), is_iterable(3)
    (True, True, False)
    """
    return isinstance(value, Iterable) or hasattr(type(value), "__getitem__")


def is_real(value: object) -> TypeGuard[float]:
    """Whether a value is a real number, of Python or numpy, and no bool.

    Examples
    --------
    >>> is_real(0.5), is_real(1), is_real("0.5"), is_real(None), is_real(True)
    (True, True, False, False, False)
    """
    return isinstance(value, Real) and not isinstance(value, bool)


def is_positive_integer(value: object) -> TypeGuard[int]:
    """Whether a value is an int of at least 1, and no bool.

    Examples
    --------
    >>> is_positive_integer(3), is_positive_integer(0), is_positive_integer(3.0)
    (True, False, False)
    """
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1
