"""What numbers that are arguments have to be."""

from __future__ import annotations

from numbers import Real
from typing import TypeGuard

__all__ = ["is_positive_integer", "is_real"]


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
