"""The repr of values that says what is not as always."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


def short_repr(value: DataclassInstance) -> str:
    """Return the call that makes a dataclass, without arguments that are the defaults.

    Examples
    --------
    >>> from sparsecore.pruning import NM
    >>> short_repr(NM(2, 4)), short_repr(NM(2, 4, axis=1))
    ('NM(n=2, m=4)', 'NM(n=2, m=4, axis=1)')
    """
    told = [
        f"{field.name}={getattr(value, field.name)!r}"
        for field in dataclasses.fields(value)
        if getattr(value, field.name) != field.default
    ]
    return f"{type(value).__name__}({', '.join(told)})"
