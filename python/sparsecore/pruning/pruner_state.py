"""States of a pruner that are loaded: checked before anything changes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

__all__ = ["check_state"]

_COUNTS = ("step", "step_of_run", "round")


def check_state(state: Any, masks: Mapping[str, Tensor], *, rewinds: bool) -> None:
    """Raise where a state is not that of a pruner with these masks.

    Parameters
    ----------
    state : mapping
        As ``Pruner.state_dict`` returns it.
    masks : mapping of str to Tensor of bool
    rewinds : bool
        Whether the pruner has ``rewind=``.

    Raises
    ------
    TypeError
        It is no mapping.
    ValueError
        Something is missing, or masks have other names, shapes or dtypes, or only one of the two
        has ``rewind=``.
    """
    caller = "Pruner.load_state_dict"
    if not isinstance(state, Mapping):
        msg = f"{caller}: state is {type(state).__name__}, expected what state_dict() returned"
        raise TypeError(msg)
    missing = [name for name in (*_COUNTS, "masks", "rewind") if name not in state]
    if missing:
        msg = (
            f"{caller}: the state has no {', '.join(missing)}; expected what state_dict() returned"
        )
        raise ValueError(msg)
    for name in _COUNTS:
        if not isinstance(state[name], int) or state[name] < 0:
            msg = f"{caller}: {name} is {state[name]!r}, expected an integer of at least 0"
            raise ValueError(msg)
    expected, found = _described(masks), _described(state["masks"])
    if found != expected:
        msg = f"{caller}: masks are {found}, this model needs {expected}"
        raise ValueError(msg)
    if (state["rewind"] is not None) != rewinds:
        which = "no" if state["rewind"] is None else "a"
        msg = f"{caller}: the state is of a pruner with {which} rewind="
        raise ValueError(msg)


def _described(masks: Any) -> Any:
    """Return the shapes of masks by name, and of what is no mask its type."""
    if not isinstance(masks, Mapping):
        return type(masks).__name__
    return {
        name: tuple(mask.shape)
        if isinstance(mask, Tensor) and mask.dtype == torch.bool
        else getattr(mask, "dtype", type(mask).__name__)
        for name, mask in masks.items()
    }
