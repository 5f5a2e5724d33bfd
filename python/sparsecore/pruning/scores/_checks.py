"""What every score asks of its weights."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["check_mapping"]


def check_mapping(caller: str, weights: object) -> None:
    """Raise TypeError unless `weights` maps names to arrays."""
    if not isinstance(weights, Mapping):
        msg = (
            f"{caller}: weights is {type(weights).__name__}, expected a mapping of name to array, "
            "such as {'weight': array}"
        )
        raise TypeError(msg)
