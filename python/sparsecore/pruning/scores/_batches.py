"""Batches of data, in the forms that people have them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

__all__ = ["Batch", "iterated", "read_batches", "read_inputs", "taken"]


@dataclass(frozen=True, slots=True)
class Batch:
    """One batch: how the model is called, what the outputs are compared with, how many samples.

    Parameters
    ----------
    args : tuple
        Positional arguments of the model.
    kwargs : mapping
        Keyword arguments of the model.
    targets : object
        The second argument of the loss.
    samples : int
        Length of the first axis of the first tensor among the inputs, at least 1.
    """

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    targets: Any
    samples: int

    def samples_of(self) -> Iterator[Batch]:
        """Yield each sample as a batch of one; what has no axis of samples goes with each."""
        for i in range(self.samples):
            args, kwargs, targets = (
                taken(part, slice(i, i + 1), self.samples)
                for part in (self.args, dict(self.kwargs), self.targets)
            )
            yield Batch(args, kwargs, targets, 1)


def read_batches(caller: str, batches: Iterable[Any]) -> Iterator[Batch]:
    """Yield what an iterable of pairs (inputs, targets) holds.

    Parameters
    ----------
    caller : str
        For messages.
    batches : iterable of tuple or list of two
        Inputs are a tensor, a tuple or list of positional arguments, or a mapping of keywords.

    Raises
    ------
    TypeError
        Not iterable, or a batch is no pair.
    ValueError
        There is no batch, or one has no samples.
    """
    place = -1
    for place, batch in enumerate(iterated(caller, batches)):
        if not isinstance(batch, tuple | list) or len(batch) != 2:
            msg = f"{caller}: batch {place} is {_kind(batch)}, expected a pair (inputs, targets)"
            raise TypeError(msg)
        yield _batch(caller, place, batch[0], batch[1])
    if place < 0:
        raise ValueError(_empty(caller))


def read_inputs(caller: str, batches: Iterable[Any]) -> Iterator[Batch]:
    """Yield the inputs alone: of pairs (inputs, targets), or bare tensors and mappings.

    Raises
    ------
    TypeError
        Not iterable, or a batch is a sequence but no pair: it cannot be told what it is.
    ValueError
        There is no batch, or one has no samples.
    """
    place = -1
    for place, batch in enumerate(iterated(caller, batches)):
        if isinstance(batch, tuple | list):
            if len(batch) != 2:
                msg = (
                    f"{caller}: batch {place} is {_kind(batch)}, expected a pair "
                    "(inputs, targets), a tensor or a mapping"
                )
                raise TypeError(msg)
            batch = batch[0]
        yield _batch(caller, place, batch, None)
    if place < 0:
        raise ValueError(_empty(caller))


def taken(value: Any, index: Any, samples: int) -> Any:
    """Index every tensor whose first axis has `samples` entries, inside of tuples and mappings."""
    if isinstance(value, Tensor):
        return value[index] if value.ndim and len(value) == samples else value
    if isinstance(value, tuple | list):
        return tuple(taken(part, index, samples) for part in value)
    if isinstance(value, Mapping):
        return {key: taken(part, index, samples) for key, part in value.items()}
    return value


def _batch(caller: str, place: int, inputs: Any, targets: Any) -> Batch:
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = {}
    if isinstance(inputs, Mapping):
        kwargs = dict(inputs)
    else:
        args = tuple(inputs) if isinstance(inputs, tuple | list) else (inputs,)
    tensors = (part for part in (*args, *kwargs.values()) if isinstance(part, Tensor) and part.ndim)
    samples = next((len(tensor) for tensor in tensors), 0)
    if not samples:
        msg = f"{caller}: the inputs of batch {place} hold no samples: no tensor with a first axis"
        raise ValueError(msg)
    return Batch(args, kwargs, targets, samples)


def iterated(caller: str, batches: Iterable[Any]) -> Iterable[Any]:
    """Return `batches`, or raise TypeError where it is none of batches."""
    if isinstance(batches, Tensor | Mapping) or not isinstance(batches, Iterable):
        msg = f"{caller}: batches is {_kind(batches)}, expected an iterable of batches"
        raise TypeError(msg)
    return batches


def _kind(value: object) -> str:
    sized = isinstance(value, tuple | list)
    return type(value).__name__ + (f" of {len(value)}" if sized else "")  # type: ignore[arg-type]


def _empty(caller: str) -> str:
    return f"{caller}: batches is empty, expected at least one batch (is it a used-up iterator?)"
