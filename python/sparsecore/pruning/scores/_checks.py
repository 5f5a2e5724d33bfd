"""What every score asks of its weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sparsecore.interop import is_tensor

__all__ = ["check_mapping", "check_whole"]


def check_mapping(caller: str, weights: object) -> None:
    """Raise TypeError unless `weights` maps names to arrays."""
    if not isinstance(weights, Mapping):
        msg = (
            f"{caller}: weights is {type(weights).__name__}, expected a mapping of name to array, "
            "such as {'weight': array}"
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
