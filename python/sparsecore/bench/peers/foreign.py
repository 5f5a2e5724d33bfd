"""Contenders from C functions that make a handle, multiply with it and free it."""

import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from sparsecore.bench.comparison import Contender, Offers

__all__ = ["Functions", "check", "offers"]


@dataclass(frozen=True, slots=True)
class Functions:
    """What a library does: `create` packs, ``run(handle, address)`` writes the product there.

    `operands` are the arrays whose addresses the functions use.
    """

    create: Callable[[], Any]
    run: Callable[[Any, int], None]
    destroy: Callable[[Any], Any]
    operands: tuple[Any, ...]


class _Owner:
    """Frees a handle when the contender that runs it is gone."""

    __slots__ = ("__weakref__", "handle")

    def __init__(self, functions: Functions) -> None:
        self.handle = functions.create()
        weakref.finalize(self, functions.destroy, self.handle)


def offers(
    name: str, functions: Functions, shape: tuple[int, ...], dtype: str, *, packs: bool
) -> Offers:
    """Return the contenders: with a handle made beforehand and, where it packs, a first call.

    Each writes into one array that it keeps, so that it is not charged for making one.
    """
    owner = _Owner(functions)
    steady, first = np.full(shape, np.nan, dtype), np.full(shape, np.nan, dtype)
    steady_address, first_address = steady.ctypes.data, first.ctypes.data

    def run() -> Any:
        functions.run(owner.handle, steady_address)
        return steady

    def create_and_run() -> Any:
        handle = functions.create()
        functions.run(handle, first_address)
        functions.destroy(handle)
        return first

    if not packs:
        return {name: Contender(run, dtype)}
    return {
        name: Contender(run, dtype, packing="beforehand"),
        f"{name}, first call": Contender(create_and_run, dtype, packing="included"),
    }


def check(status: int, name: str) -> None:
    """Raise RuntimeError where a C function failed."""
    if status != 0:
        msg = f"{name} failed with status {status}"
        raise RuntimeError(msg)
