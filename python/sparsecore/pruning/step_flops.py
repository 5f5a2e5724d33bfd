"""What a step of sparse training costs where zeros cost nothing."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

__all__ = ["densities", "step_flops"]


def densities(counts: Mapping[str, int], sizes: Mapping[str, int]) -> dict[str, Fraction]:
    """Return exact densities by name; 0 of what has no elements.

    Examples
    --------
    >>> densities({"weight": 1}, {"weight": 10})
    {'weight': Fraction(1, 10)}
    """
    return {name: Fraction(count, max(1, sizes[name])) for name, count in counts.items()}


def step_flops(
    caller: str,
    dense: Mapping[str, float],
    *,
    forward: Mapping[str, Fraction],
    gradient: Mapping[str, Fraction],
) -> float:
    """Return the FLOPs of a forward and a backward pass through layers, some of them sparse.

    A layer's forward pass, the gradient of its inputs and the gradient of its weight cost the same
    where it is dense. A sparse one pays its forward density for the first two, and for the last the
    density of the entries whose gradient is taken.

    Parameters
    ----------
    caller : str
        Begins the message.
    dense : mapping of str to float
        FLOPs of each layer's forward pass, were it dense.
    forward, gradient : mapping of str to Fraction
        Densities of the layers that are sparse; others are dense.

    Raises
    ------
    ValueError
        If `dense` lacks a sparse layer.

    References
    ----------
    Evci et al., "Rigging the Lottery: Making All Tickets Winners", ICML 2020, the appendix on
    FLOPs: 3 f_S a step, 2 f_S + f_D where the gradient is dense.

    Examples
    --------
    >>> cost = {"first": 10.0, "second": 200.0}
    >>> tenth, half = {"second": Fraction(1, 10)}, {"second": Fraction(1, 2)}
    >>> step_flops("example", cost, forward=tenth, gradient=half)
    170.0
    """
    missing = [name for name in forward if name not in dense]
    if missing:
        msg = f"{caller}: dense has no FLOPs of {', '.join(missing)}"
        raise ValueError(msg)
    one = Fraction(1)
    total = sum(
        Fraction(flops) * (2 * forward.get(name, one) + gradient.get(name, one))
        for name, flops in dense.items()
    )
    return float(total)
