"""Generators of torch that functions are given, or make."""

from __future__ import annotations

import torch

__all__ = ["seeded_generator"]


def seeded_generator(caller: str, generator: torch.Generator | None) -> torch.Generator:
    """Return the generator, or where there is none a new one with seed 0.

    Raises
    ------
    TypeError
        It is something else, or not of the CPU.

    Examples
    --------
    >>> seeded_generator("example", None).initial_seed()
    0
    """
    if generator is None:
        return torch.Generator().manual_seed(0)
    if not isinstance(generator, torch.Generator) or generator.device.type != "cpu":
        found = getattr(generator, "device", type(generator).__name__)
        msg = f"{caller}: generator is {found}, expected a torch.Generator of the CPU, or None"
        raise TypeError(msg)
    return generator
