"""States of the drivers of sparse training: checked as a whole before anything is taken over."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

__all__ = ["checked_state", "checked_tensors"]


def checked_state(caller: str, state: object, expected: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a state that has what a driver's own has, but for its masks, which the layers' lack.

    Raises
    ------
    TypeError
        It is no mapping.
    ValueError
        An entry is missing, or is no step, or no state of a generator.
    """
    caller = f"{caller}.load_state_dict"
    if not isinstance(state, Mapping):
        msg = f"{caller}: state is {type(state).__name__}, expected what state_dict() returns"
        raise TypeError(msg)
    missing = [name for name in expected if name not in state and name != "masks"]
    if missing:
        msg = (
            f"{caller}: state has no {', '.join(missing)}, its entries are {list(state)}; expected "
            "the state of a driver of the same class"
        )
        raise ValueError(msg)
    step = state["step"]
    if isinstance(step, bool) or not isinstance(step, int) or step < 0:
        msg = f"{caller}: step is {step!r}, expected an integer of at least 0"
        raise ValueError(msg)
    if "generator" in expected:
        try:
            torch.Generator().set_state(state["generator"])
        except (TypeError, RuntimeError) as fault:
            msg = f"{caller}: generator is no state of a torch.Generator of the CPU: {fault}"
            raise ValueError(msg) from fault
    return state


def checked_tensors(
    caller: str, name: str, found: object, expected: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Return an entry of a state that maps names to tensors, on the devices of those expected.

    Raises
    ------
    ValueError
        Other names, shapes or dtypes than those expected.
    """
    tensors = found if isinstance(found, Mapping) else {}
    kinds = {n: _kind(tensor) for n, tensor in tensors.items()}
    needed = {n: _kind(tensor) for n, tensor in expected.items()}
    if kinds != needed:
        listed = kinds if isinstance(found, Mapping) else f"a {type(found).__name__}"
        msg = f"{caller}.load_state_dict: {name} are {listed}, expected {needed}"
        raise ValueError(msg)
    return {n: tensor.to(expected[n].device) for n, tensor in tensors.items()}


def _kind(tensor: object) -> object:
    if not isinstance(tensor, Tensor):
        return type(tensor).__name__
    return tuple(tensor.shape), tensor.dtype
