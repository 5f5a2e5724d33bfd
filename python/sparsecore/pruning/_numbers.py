"""Numbers that callers give: whole ones, and fractions to prune."""

from __future__ import annotations

import operator
from numbers import Real
from typing import Any, TypeGuard

__all__ = ["checked_sparsity", "integer", "is_positive_integer", "is_real"]


def integer(value: object, *, name: str, what: str = "an integer") -> int:
    """Return a number as an int.

    Parameters
    ----------
    value : int, or what has ``__index__``
    name : str
        What the message calls it, as ``"NM: n"``.
    what : str
        What was expected.

    Raises
    ------
    TypeError
        It is no integer; 2.0 is none.

    Examples
    --------
    >>> integer(3, name="NM: n")
    3
    >>> integer(2.0, name="NM: n")
    Traceback (most recent call last):
        ...
    TypeError: NM: n is 2.0, a float, expected an integer
    """
    try:
        return operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        msg = f"{name} is {value!r}, a {type(value).__name__}, expected {what}"
        raise TypeError(msg) from None


def checked_sparsity(sparsity: object, *, caller: str, name: str = "sparsity") -> float:
    """Return a fraction to prune as a float.

    Parameters
    ----------
    sparsity : real number, or array or tensor without axes
    caller, name : str
        Begin the message.

    Raises
    ------
    TypeError
        It is no number.
    ValueError
        It is not in [0, 1).

    Examples
    --------
    >>> checked_sparsity(0.5, caller="prune")
    0.5
    """
    number: Any = sparsity
    if not isinstance(number, Real) and getattr(number, "ndim", None) != 0:
        kind = type(number).__name__
        msg = f"{caller}: {name} is {number!r}, a {kind}, expected a fraction in [0, 1)"
        raise TypeError(msg)
    if not 0 <= number < 1:
        msg = f"{caller}: {name} is {number}, expected a fraction in [0, 1)"
        raise ValueError(msg)
    return float(number)


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
