"""What is to be done to each layer, and what was."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias, get_args

from sparsecore.pruning._numbers import is_real
from sparsecore.pruning.allocation import checked_sparsity
from sparsecore.pruning.patterns import NM, Pattern, Unstructured

__all__ = ["Method", "PrunedLayer", "Request"]

Method: TypeAlias = Literal["sparsegpt", "wanda", "magnitude"]


@dataclass(frozen=True, slots=True)
class PrunedLayer:
    """A linear layer that was pruned.

    Attributes
    ----------
    name : str
        Of its weight.
    shape : (int, int)
        Of its weight, as the model has it.
    kept : int
        Weights that its mask keeps.

    Examples
    --------
    >>> PrunedLayer("h.0.fc.weight", (4, 10), 10).sparsity
    0.75
    """

    name: str
    shape: tuple[int, int]
    kept: int

    @property
    def sparsity(self) -> float:
        """Fraction that was pruned."""
        return 1 - self.kept / math.prod(self.shape) if math.prod(self.shape) else 0.0

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> PrunedLayer:
        """Return what ``dataclasses.asdict`` took apart."""
        return cls(str(fields["name"]), tuple(fields["shape"]), int(fields["kept"]))


@dataclass(frozen=True, slots=True)
class Request:
    """How to prune, checked; the attributes are ``prune_blocks``' arguments.

    Raises
    ------
    ValueError
        One is out of range, or they contradict each other.
    TypeError
        One is not of its kind.
    """

    method: Method
    sparsity: float
    pattern: Pattern
    sequence_length: int | None
    columns: int
    damping: float

    def __post_init__(self) -> None:
        """Refuse what has no meaning, before anything is read or run."""
        if self.method not in get_args(Method):
            msg = f"prune_blocks: method is {self.method!r}, expected one of {get_args(Method)}"
            raise ValueError(msg)
        checked_sparsity(self.sparsity, caller="prune_blocks")
        known = Unstructured() if isinstance(self.pattern, Unstructured) else self._groups()
        if known is None or self.pattern != known:
            msg = f"prune_blocks: pattern is {self.pattern!r}, expected Unstructured() or NM(n, m)"
            raise TypeError(msg)
        only = self.pattern.sparsity
        if only is not None and not math.isclose(only, self.sparsity):
            msg = (
                f"prune_blocks: sparsity is {self.sparsity}, but {self.pattern} has exactly {only}"
            )
            raise ValueError(msg)
        self._check_numbers()

    def _groups(self) -> NM | None:
        return NM(self.pattern.n, self.pattern.m) if isinstance(self.pattern, NM) else None

    def _check_numbers(self) -> None:
        length = self.sequence_length
        is_length = type(length) is int and length > 0
        wrong = {
            f"sequence_length is {length!r}, expected tokens in a sequence, at least 1, as the "
            f"method {self.method!r} runs the model": self.calibrates and not is_length,
            f"columns is {self.columns!r}, expected an integer of at least 1": type(self.columns)
            is not int
            or self.columns < 1,
            f"damping is {self.damping!r}, expected at least 0": not is_real(self.damping)
            or not 0 <= self.damping < math.inf,
        }
        for message, is_wrong in wrong.items():
            if is_wrong:
                msg = f"prune_blocks: {message}"
                raise ValueError(msg)

    @property
    def calibrates(self) -> bool:
        """Whether the method asks what the layers' inputs are."""
        return self.method != "magnitude"

    def settings(self) -> dict[str, Any]:
        """Return what a run that goes on with another's work has to share with it."""
        return asdict(self) | {"pattern": str(self.pattern)}
