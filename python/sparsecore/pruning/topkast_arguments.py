"""The arguments of Top-KAST: numbers in their ranges, and which go with which form."""

from __future__ import annotations

import math

from sparsecore.pruning._numbers import is_positive_integer, is_real

__all__ = ["check_form", "check_numbers"]


def check_numbers(*, active: object, penalty: object, every: object, explore: object) -> None:
    """Raise ValueError where one is out of range, or no number."""
    wrong = {
        f"active is {active!r}, expected above 0 and at most 1": not is_real(active)
        or not 0 < active <= 1,
        f"penalty is {penalty!r}, expected at least 0": not is_real(penalty)
        or not 0 <= penalty < math.inf,
        f"every is {every!r}, expected an integer of at least 1": every is not None
        and not is_positive_integer(every),
        f"explore is {explore!r}, expected 0 to 1": explore is not None
        and (not is_real(explore) or not 0 <= explore <= 1),
    }
    for message, is_wrong in wrong.items():
        if is_wrong:
            msg = f"TopKAST: {message}"
            raise ValueError(msg)


def check_form(masks: object, **csr_only: object) -> None:
    """Raise ValueError where masks come with an argument for CSR layers."""
    given = [name for name, value in csr_only.items() if value is not None]
    if masks is not None and given:
        msg = (
            f"TopKAST: {', '.join(given)} with masks=: only CSR layers exchange entries at random; "
            "of a dense weight B is its largest part after every step"
        )
        raise ValueError(msg)
