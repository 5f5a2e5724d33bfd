"""Allocations: how many weights each layer keeps, as exact integers.

Every allocation returns ``{name: kept count}``. Those that are given a sparsity return counts whose
sum is exactly ``size - round(sparsity * size)`` over all layers together (Python's ``round``; with
``dense_first`` over all but the first layer);
fractional shares are rounded by largest remainder, ties to the earlier layer, in integer
arithmetic. ``latency`` is given seconds instead, and ``Explicit`` what each layer keeps.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import TYPE_CHECKING, Any

from sparsecore.pruning._arrays import checked_scores, join, top_of_rows
from sparsecore.pruning.apportion import apportion
from sparsecore.pruning.explicit_allocation import Explicit as Explicit
from sparsecore.pruning.latency_allocation import latency as latency
from sparsecore.pruning.latency_curves import predicted_seconds as predicted_seconds

if TYPE_CHECKING:
    from sparsecore.pruning._arrays import Array


def checked_sparsity(sparsity: float, *, caller: str) -> float:
    """Return the sparsity as a float; raise TypeError or ValueError unless it lies in [0, 1)."""
    if not isinstance(sparsity, Real):
        msg = f"{caller}: sparsity is {sparsity!r}, expected a number, a fraction in [0, 1)"
        raise TypeError(msg)
    if not 0 <= sparsity < 1:
        msg = f"{caller}: sparsity is {sparsity}, expected a fraction in [0, 1)"
        raise ValueError(msg)
    return float(sparsity)


def uniform(
    shapes: Mapping[str, Sequence[int] | Array], sparsity: float, *, dense_first: bool = False
) -> dict[str, int]:
    """Give every layer the same sparsity.

    Parameters
    ----------
    shapes : mapping of str to shape or array
        A shape for each layer, or any array that has it.
    sparsity : float
        Fraction of all weights to prune, in [0, 1).
    dense_first : bool
        Keep all of the first layer. `sparsity` is then that of the others, as in the comparisons
        of the RigL paper, and the whole is less sparse. Bind it with ``functools.partial`` for
        ``Pruner`` and ``prune``.

    Returns
    -------
    dict of str to int
        Kept count of each layer, less than one away from its exact share of the total.

    Raises
    ------
    ValueError
        `sparsity` outside [0, 1).

    References
    ----------
    Evci et al., "Rigging the Lottery: Making All Tickets Winners", ICML 2020, section 3.

    Examples
    --------
    >>> uniform({"a": (3, 5), "b": (5, 5)}, 0.9)
    {'a': 2, 'b': 2}
    >>> uniform({"a": (3, 5), "b": (5, 5)}, 0.8, dense_first=True)
    {'a': 15, 'b': 5}
    """
    sizes = _sizes(shapes)
    first = dict(list(sizes.items())[: int(dense_first)])
    rest = {name: size for name, size in sizes.items() if name not in first}
    return first | apportion(rest, rest, _kept_in_all(rest, sparsity, caller="uniform"))


def global_(scores: Mapping[str, Array], sparsity: float) -> dict[str, int]:
    """Put one threshold over the scores of all layers, with no normalisation.

    Parameters
    ----------
    scores : mapping of str to array or tensor
        Scores as they will be given to ``prune_mask``; higher means keep.
    sparsity : float
        Fraction of all weights to prune, in [0, 1).

    Returns
    -------
    dict of str to int
        How many of the globally best scores lie in each layer. Ties keep the earlier layer, and in
        a layer the lowest index, so ``prune_mask`` with these counts gives the global top.

    Raises
    ------
    ValueError
        `sparsity` outside [0, 1), or a score is NaN.
    TypeError
        A score is not an array.

    Examples
    --------
    >>> import numpy as np
    >>> global_({"a": np.array([0.1, 0.9]), "b": np.array([0.7, 0.8])}, 0.5)
    {'a': 1, 'b': 1}
    """
    sizes = _sizes(scores)
    kept = _kept_in_all(sizes, sparsity, caller="global_")
    if not sizes:
        return {}
    checked = [checked_scores(s, name=f"global_: scores[{name!r}]") for name, s in scores.items()]
    mask = top_of_rows(join(checked)[None, :], kept)[0]
    counts, start = {}, 0
    for name, size in sizes.items():
        counts[name] = int(mask[start : start + size].sum())
        start += size
    return counts


def erdos_renyi(
    shapes: Mapping[str, Sequence[int] | Array], sparsity: float, *, kernel: bool = True
) -> dict[str, int]:
    """Make each layer's density proportional to the sum over the product of its dimensions.

    density = eps * (n_in + n_out + kw + kh) / (n_in * n_out * kw * kh), with the one eps that
    meets the total. Layers whose density would pass 1 stay dense, and eps is solved anew for the
    rest. Fully connected layers have no kernel terms (Erdős-Rényi; with the terms, ERK).

    Parameters
    ----------
    shapes : mapping of str to shape or array
        In torch order: (out, in) or (out, in, kh, kw), with any number of kernel dimensions.
    sparsity : float
        Fraction of all weights to prune, in [0, 1).
    kernel : bool
        Count the kernel dimensions. Without them the density is
        eps * (n_in + n_out) / (n_in * n_out), whatever the kernel.

    Returns
    -------
    dict of str to int
        Kept count of each layer.

    Raises
    ------
    ValueError
        `sparsity` outside [0, 1), or a shape with fewer than two dimensions.

    References
    ----------
    Mocanu et al., "Scalable training of artificial neural networks with adaptive sparse
    connectivity inspired by network science", Nature Communications 2018 (ER);
    Evci et al., "Rigging the Lottery: Making All Tickets Winners", ICML 2020, section 3 (ERK).

    Examples
    --------
    >>> erdos_renyi({"fc1": (300, 784), "fc2": (100, 300), "fc3": (10, 100)}, 0.9)
    {'fc1': 18714, 'fc2': 6906, 'fc3': 1000}
    """
    sizes = _sizes(shapes)
    kept = _kept_in_all(sizes, sparsity, caller="erdos_renyi")
    # density * size, up to eps: an integer, so that the counts need no floating point.
    shares = {name: _er_share(name, _shape(s), kernel) for name, s in shapes.items()}
    return apportion(shares, sizes, kept)


def _er_share(name: str, shape: tuple[int, ...], kernel: bool) -> int:
    if len(shape) < 2:
        msg = f"erdos_renyi: shapes[{name!r}] is {shape}, expected (out, in) or (out, in, kh, kw)"
        raise ValueError(msg)
    return sum(shape) if kernel else sum(shape[:2]) * math.prod(shape[2:])


def _shape(shape_or_array: Any) -> tuple[int, ...]:
    return tuple(int(n) for n in getattr(shape_or_array, "shape", shape_or_array))


def _sizes(shapes: Mapping[str, Any]) -> dict[str, int]:
    return {name: math.prod(_shape(shape)) for name, shape in shapes.items()}


def _kept_in_all(sizes: Mapping[str, int], sparsity: float, *, caller: str) -> int:
    size = sum(sizes.values())
    return size - round(checked_sparsity(sparsity, caller=caller) * size)
