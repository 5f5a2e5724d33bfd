"""What scores, allocations and drivers ask of the mappings and iterables that they get."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from sparsecore.interop import is_tensor

__all__ = ["check_arrays", "check_mapping", "check_whole", "is_iterable"]


def check_mapping(caller: str, value: object, *, argument: str = "weights") -> None:
    """Raise TypeError unless `value` maps names to something."""
    if not isinstance(value, Mapping):
        msg = (
            f"{caller}: {argument} is {type(value).__name__}, expected a mapping of name to array, "
            "such as {'weight': array}"
        )
        raise TypeError(msg)


def check_arrays(caller: str, value: Any, *, argument: str = "weights") -> None:
    """Raise TypeError unless `value` maps names to dense arrays or tensors of real numbers."""
    check_mapping(caller, value, argument=argument)
    for name, array in value.items():
        found = _other_kind(array)
        if found is not None:
            msg = (
                f"{caller}: {argument}[{name!r}] is {found}, expected a dense numpy array or torch "
                "tensor of real numbers"
            )
            raise TypeError(msg)


def check_whole(caller: str, weights: Mapping[str, Any], reason: str) -> None:
    """Raise ValueError where a weight is sharded over ranks, with the reason against it."""
    for name, weight in weights.items():
        # A tensor's ranks are those of its mesh; only DTensors have one.
        if is_tensor(weight) and hasattr(weight, "device_mesh"):
            msg = (
                f"{caller}: {name!r} is sharded over ranks, and {reason}; score the model before "
                "fully_shard, or use magnitude, random, snip or wanda"
            )
            raise ValueError(msg)


def is_iterable(value: object) -> bool:
    """Whether ``for`` can go through a value: data sets may have ``__getitem__`` alone.

    Examples
    --------
    >>> is_iterable([1]), is_iterable(iter([1])), is_iterable(3)
    (True, True, False)
    """
    return isinstance(value, Iterable) or hasattr(type(value), "__getitem__")


def _other_kind(array: Any) -> str | None:
    """Return what it is, where it is no array of real numbers that lies in memory."""
    if is_tensor(array):
        is_dense = str(array.layout) == "torch.strided" and not array.is_meta
        is_real = not (array.is_complex() or array.is_quantized)
        found = f"a tensor of {array.dtype}, {array.layout} on {array.device}"
        return None if is_dense and is_real else found
    if not isinstance(array, np.ndarray) or isinstance(array, np.ma.MaskedArray):
        return f"a {type(array).__name__}"
    # Extension dtypes, such as bfloat16, have the kind of records, but not their type.
    is_extension = array.dtype.kind == "V" and array.dtype.type is not np.void
    return None if is_extension or array.dtype.kind in "biuf" else f"an array of {array.dtype}"
