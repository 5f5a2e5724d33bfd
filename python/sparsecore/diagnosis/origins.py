"""Which stored tensors of a model other tensors come from: views, copies, and what was computed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

from sparsecore.diagnosis import operators

__all__ = ["Origin", "Origins", "axis_of", "tensors_in"]


@dataclass(frozen=True, slots=True)
class Origin:
    """Which stored tensors another one comes from alone, without any input.

    Attributes
    ----------
    sources : tuple of str
    operator : str or None
        What computed it; None where it is a stored tensor, a view or a copy of one.
    base : Tensor or None
        Of a view: what it is a view of.
    of_product : bool
        Whether a product of stored tensors has part in it: a weight, as in ``W + B @ A``, or
        activations of an input that is a parameter.
    """

    sources: tuple[str, ...]
    operator: str | None = None
    base: Tensor | None = field(default=None, compare=False)
    of_product: bool = False


class Origins:
    """The origins of tensors that no input had a part in.

    Parameters
    ----------
    stored : mapping of str to tensor
    """

    def __init__(self, stored: Mapping[str, Tensor]) -> None:
        self._known: Any = WeakIdKeyDictionary()
        self._places: dict[int, Origin] = {}
        self._written: set[int] = set()
        for name, tensor in stored.items():
            if tensor in self._known:
                continue
            self._known[tensor] = Origin((name,))
            if (address := _address(tensor)) is not None:
                # For views that no operator makes, such as ``weight.data``.
                self._places.setdefault(address, Origin((name,), base=tensor))

    def of(self, tensor: object) -> Origin | None:
        """Return the origin of a tensor; None of what an input has a part in."""
        if not isinstance(tensor, Tensor):
            return None
        found: Origin | None = self._known.get(tensor)
        if found is not None and not self._written:
            return found
        address = _address(tensor) or 0
        if address in self._written:
            return None
        return self._places.get(address) if found is None else found

    def sources(self, tensor: object) -> tuple[str, ...]:
        """Return the names of the stored tensors that a tensor comes from."""
        origin = self.of(tensor)
        return () if origin is None else origin.sources

    def base(self, tensor: Tensor) -> Tensor:
        """Return what a tensor is a view of, or itself."""
        origin = self.of(tensor)
        return tensor if origin is None or origin.base is None else origin.base

    def write(self, written: Tensor, operands: Sequence[Tensor]) -> None:
        """Note that an operator wrote to one of its operands: an input may have part in it now."""
        address = _address(written)
        if address is not None and any(self.of(operand) is None for operand in operands):
            self._written.add(address)

    def note(self, name: str, operands: Sequence[Tensor], result: Any) -> bool:
        """Note the origin of what an operator made; return whether an input had no part in it."""
        known = [self.of(operand) for operand in operands]
        origins = [origin for origin in known if origin is not None]
        if len(origins) < len(operands):
            return False
        sources = tuple(dict.fromkeys(s for origin in origins for s in origin.sources))
        is_product = name in operators.MATRIX_OPERANDS or name in operators.CONVOLUTIONS
        of_product = is_product or any(origin.of_product for origin in origins)
        for made in tensors_in((result,)):
            operator, base = self._made_by(made, name, operands)
            self._known[made] = Origin(sources, operator, base, of_product)
        return True

    def _made_by(
        self, made: Tensor, name: str, operands: Sequence[Tensor]
    ) -> tuple[str | None, Tensor | None]:
        """Return what computed a tensor, and what it is a view of: either may be None."""
        address = _address(made)
        for operand in operands:
            origin = self.of(operand)
            if origin is not None and address is not None and address == _address(operand):
                return origin.operator, self.base(operand)
        origin = self.of(operands[0]) if operators.is_copy(name) and operands else None
        return (name if origin is None else origin.operator), None


def tensors_in(values: Any) -> list[Tensor]:
    """Return the tensors among arguments, and in lists of them."""
    found: list[Tensor] = []
    for value in values:
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, list | tuple):
            found += tensors_in(value)
    return found


def axis_of(base: Tensor, view: Tensor, axis: int) -> int | None:
    """Return the axis of `base` that an axis of its view is, by the distance in memory.

    Examples
    --------
    >>> weight = torch.zeros(4, 8)
    >>> axis_of(weight, weight.T, 0), axis_of(weight, weight[1:3], 1)
    (1, 1)
    """
    if base is view:
        return axis
    if base.layout != torch.strided or view.layout != torch.strided:
        return None
    stride, size = view.stride(axis), view.shape[axis]
    alike = [a for a in range(base.ndim) if base.stride(a) == stride]
    exact = [a for a in alike if base.shape[a] == size]
    return next(iter(exact or alike), None)


def _address(tensor: Tensor) -> int | None:
    """Return where a tensor's memory begins; None where there is none to ask for."""
    if tensor.layout != torch.strided or tensor.is_meta or tensor.is_quantized:
        return None
    try:
        return tensor.untyped_storage().data_ptr() or None
    except (NotImplementedError, RuntimeError):  # of a subclass without memory of its own
        return None
