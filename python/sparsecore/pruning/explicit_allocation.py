"""An allocation that was decided elsewhere: what each layer keeps, by name."""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from sparsecore.pruning._checks import check_mapping
from sparsecore.pruning.apportion import apportion

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sparsecore.pruning._arrays import Array


@dataclass(frozen=True, slots=True)
class Explicit:
    """What each layer keeps, by name; ``prune`` and ``Pruner`` take the mapping itself, too.

    Parameters
    ----------
    kept : mapping of str to int or float
        For every layer a count, or, as a float in [0, 1], the density: ``round(density * size)``
        are kept.

    Raises
    ------
    TypeError
        `kept` is no mapping, or a value is neither an integer nor a float.
    ValueError
        A density outside [0, 1], or a negative count.

    Examples
    --------
    >>> allocation = Explicit({"a": 0.4, "b": 1})
    >>> allocation.sparsity({"a": (3, 5), "b": (5, 5)})
    0.825
    >>> allocation({"a": (3, 5), "b": (5, 5)}, 0.825)
    {'a': 6, 'b': 1}
    """

    kept: Mapping[str, int | float]

    def __post_init__(self) -> None:
        """Take a copy, and reject values without meaning."""
        check_mapping("explicit allocation", self.kept, argument="kept")
        checked = {name: _checked(name, value) for name, value in self.kept.items()}
        object.__setattr__(self, "kept", MappingProxyType(checked))

    def __reduce__(self) -> tuple[type[Explicit], tuple[dict[str, int | float]]]:
        """Pickle and copy by the mapping, whose read-only view cannot be."""
        return Explicit, (dict(self.kept),)

    def counts(self, shapes: Mapping[str, Sequence[int] | Array]) -> dict[str, int]:
        """Return the kept count of each layer.

        Parameters
        ----------
        shapes : mapping of str to shape or array

        Raises
        ------
        ValueError
            Other names than those of `shapes`, or a count above a layer's size.
        """
        if set(shapes) != set(self.kept):
            missing = sorted(set(shapes) - set(self.kept))
            unknown = sorted(set(self.kept) - set(shapes))
            msg = f"explicit allocation: missing {missing}, unknown {unknown}; expected each layer"
            raise ValueError(msg)
        return {name: _count(name, self.kept[name], size) for name, size in _sizes(shapes).items()}

    def sparsity(self, shapes: Mapping[str, Sequence[int] | Array]) -> float:
        """Return the fraction pruned of all layers together."""
        size = sum(_sizes(shapes).values())
        return (size - sum(self.counts(shapes).values())) / size if size else 0.0

    def __call__(
        self, shapes: Mapping[str, Sequence[int] | Array], sparsity: float
    ) -> dict[str, int]:
        """Return the kept counts on the way to the final ones.

        At a lower `sparsity` than the final one, which gradual schedules ask for, every layer has
        lost the same share of what it is to lose.

        Raises
        ------
        ValueError
            `sparsity` above the one that the counts have; as `counts`.
        """
        sizes, counts = _sizes(shapes), self.counts(shapes)
        lost = {name: sizes[name] - count for name, count in counts.items()}
        total = round(sparsity * sum(sizes.values()))
        if not 0 <= total <= sum(lost.values()):
            msg = (
                f"explicit allocation: sparsity is {sparsity}, expected 0 to "
                f"{self.sparsity(shapes)}, which the counts have"
            )
            raise ValueError(msg)
        so_far = apportion(lost, lost, total)
        return {name: size - so_far[name] for name, size in sizes.items()}


def _checked(name: str, value: Any) -> int | float:
    if isinstance(value, float):
        if not 0 <= value <= 1:
            msg = f"explicit allocation: {name} is {value}, expected a density in [0, 1]"
            raise ValueError(msg)
        return value
    try:
        count = operator.index(value)
    except TypeError:
        count = None
    if count is None or isinstance(value, bool):
        msg = f"explicit allocation: {name} is {value!r}, expected a count or a float density"
        raise TypeError(msg)
    if count < 0:
        msg = f"explicit allocation: {name} is {count}, expected a count of at least 0"
        raise ValueError(msg)
    return count


def _count(name: str, value: float, size: int) -> int:
    count = round(value * size) if isinstance(value, float) else value
    if count > size:
        msg = f"explicit allocation: {name} is {count}, but the layer has {size} weights"
        raise ValueError(msg)
    return count


def _sizes(shapes: Mapping[str, Any]) -> dict[str, int]:
    return {name: math.prod(getattr(s, "shape", s)) for name, s in shapes.items()}
