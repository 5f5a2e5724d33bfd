"""What a diagnosis is asked for, checked."""

import operator
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from sparsecore.diagnosis.facts import LayerFacts
from sparsecore.diagnosis.machine import CostsOf
from sparsecore.timing import Timer

__all__ = ["MOST", "Tell", "Wish", "checked_batches", "checked_shape"]

MOST = 2**31 - 1
"""The most rows, and the greatest length of an axis, that can be asked for."""

Tell: TypeAlias = Callable[[int, int, str], object]
"""Called as ``tell(done, total, name)`` to follow the work."""

# With one row, reading the weight is what takes time; with as many as the other, arithmetic is.
_BATCHES = (1, 256)


@dataclass(frozen=True, slots=True)
class Wish:
    """The arguments of `doctor`.

    `timer` is None where none was given; `measures_costs` says whether `costs` are measured when
    they are first asked for, which needs torch. `rows_given` says whether `batches` were.
    """

    measure: bool
    batches: tuple[int, ...]
    input_shape: tuple[int, ...] | None
    threads: int | None
    timer: Timer | None
    costs: CostsOf
    measures_costs: bool
    tell: Tell
    rows_given: bool = False

    def rows_to_assume(self, facts: LayerFacts) -> tuple[int, ...]:
        """Return the rows to assume of a layer whose own are unknown, each alone.

        None of a convolution unless they were given: its rows are the pixels of all images of a
        batch, mostly far from the rows of matrices.
        """
        return self.batches if self.rows_given or len(facts.shape) <= 2 else ()


def checked_batches(batch: int | Sequence[int] | None) -> tuple[int, ...]:
    """Return the rows to assume, each once; 1 and 256 where none are given.

    Raises
    ------
    TypeError
        For what is no integer.
    ValueError
        For one that is less than 1 or more than `MOST`, or where there is none.

    Examples
    --------
    >>> checked_batches(None), checked_batches(16), checked_batches([1, 8, 1])
    ((1, 256), (16,), (1, 8))
    """
    if batch is None:
        return _BATCHES
    return tuple(dict.fromkeys(_naturals(batch, "batch")))


def checked_shape(shape: Sequence[int] | None) -> tuple[int, ...] | None:
    """Return the shape of an input.

    Raises
    ------
    TypeError, ValueError
        As `checked_batches`.
    """
    return None if shape is None else _naturals(shape, "input_shape")


def _naturals(values: Any, name: str) -> tuple[int, ...]:
    listed = list(values) if isinstance(values, Iterable) else [values]
    try:
        numbers = tuple(operator.index(value) for value in listed)
    except TypeError:
        msg = f"doctor: {name} is {values!r:.80}, expected integers"
        raise TypeError(msg) from None
    if not numbers or min(numbers) < 1 or max(numbers) > MOST:
        msg = f"doctor: {name} is {values!r:.80}, expected integers from 1 to {MOST}"
        raise ValueError(msg)
    return numbers
