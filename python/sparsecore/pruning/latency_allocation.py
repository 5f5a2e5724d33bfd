"""The allocation that meets a latency budget at the least loss of score."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sparsecore.pruning._arrays import as_float64, checked_scores
from sparsecore.pruning.latency_curves import Times, check_layers, curve_of

if TYPE_CHECKING:
    from sparsecore.pruning._arrays import Array
    from sparsecore.pruning.latency_curves import Floats, Ints

__all__ = ["latency"]

# Kept counts of a layer among which the trade of time for score is looked for.
_GRID = 4096
# By which the sum of times may pass the budget: sums in another order differ by as much.
_ROUNDING = 1e-12


def latency(scores: Mapping[str, Array], times: Times, budget: float) -> dict[str, int]:
    """Give up the least score of all allocations whose layers take at most `budget` seconds.

    The time of a layer that keeps k weights is interpolated piecewise linearly between its measured
    counts. Where one that keeps more is faster (dense often is faster than a sparse form with few
    zeros), that time counts: the layer can run as that one does, with zeros among its entries. So
    time never falls as k grows. Nothing is extrapolated: no layer keeps fewer than its least
    measured count.

    Parameters
    ----------
    scores : mapping of str to array or tensor
        What is lost with each weight, 0 or more; higher means keep. Layers compete by them as they
        are: normalise them before, or take ones that are comparable, such as squared magnitudes or
        ``scores.lamp``.
    times : mapping of str to sequence of (int, float)
        For each of the same layers, kept counts in rising order and the seconds measured with each;
        the last count is the layer's size, its time that of the dense layer. See
        ``sparsecore.nn.measure_layers``.
    budget : float
        Seconds for all these layers together; what else a model does is not part of it.

    Returns
    -------
    dict of str to int
        Kept count of each layer. Their times add up to at most `budget`, but for rounding (1e-12 of
        it), and all of it is used: no layer could keep one more alone.

    Raises
    ------
    ValueError
        `budget` is below the least time that the measured counts reach, or not finite; a score is
        NaN, infinite or negative; layers differ between `scores` and `times`; counts do not rise or
        do not end with the size; a time is negative or not finite.
    TypeError
        A score is not an array, a count no integer, or an entry of `times` no pair.

    Notes
    -----
    A multiple-choice knapsack, solved by Lagrangian relaxation: each layer's counts (all of them
    up to a size of 4096, else about 4096, evenly spread, and the measured ones) are points (time,
    lost score), and the steps along the lower convex hulls of all layers are taken in order of
    score saved a second. The first step that does not fit is taken as far as it does, to the exact
    count, and so are the layers' next ones. Of these counts, no allocation within the budget loses
    less by more than what that one step of one layer would have saved; where the steps use up the
    budget exactly, none loses less at all. Deterministic.

    References
    ----------
    Everett, "Generalized Lagrange multiplier method for solving problems of optimum allocation of
    resources", Operations Research 1963; Sinha and Zoltners, "The multiple-choice knapsack
    problem", Operations Research 1979 (the hulls, and the bound of one step).

    Examples
    --------
    >>> import numpy as np
    >>> scores = {"a": np.array([4.0, 3.0, 2.0, 1.0]), "b": np.array([0.4, 0.3, 0.2, 0.1])}
    >>> times = {name: [(0, 0.0), (4, 4.0)] for name in scores}
    >>> latency(scores, times, 5.0)
    {'a': 4, 'b': 1}

    Sparse is slower here until half of the weights are gone: dense, it keeps all for the same time.

    >>> latency({"a": scores["a"]}, {"a": [(1, 1.0), (2, 3.0), (3, 5.0), (4, 3.0)]}, 3.5)
    {'a': 4}
    """
    check_layers(scores, times)
    curves = {name: curve_of(name, times[name]) for name in times}
    layers = [_layer(name, array, curves[name]) for name, array in scores.items()]
    least = math.fsum(float(layer.seconds[0]) for layer in layers)
    if not (math.isfinite(budget) and least <= _allowed(budget)):
        msg = (
            f"latency: budget is {budget:.6g} s, expected a finite number of at least {least:.6g} "
            "s, which the layers take with the fewest weights measured"
        )
        raise ValueError(msg)
    if not layers:
        return {}
    kept = _fill(layers, _along_the_hulls(layers, budget), budget)
    found = zip(scores, layers, kept, strict=True)
    return {name: layer.least + at for name, layer, at in found}


@dataclass(frozen=True, slots=True)
class _Layer:
    """A layer's time and lost score for each kept count from `least` to its size."""

    least: int
    seconds: Floats
    lost: Floats
    # Places in both arrays, rising: those on the lower convex hull of (time, lost score).
    hull: Ints


def _layer(name: str, scores: Any, curve: tuple[Ints, Floats]) -> _Layer:
    counts, measured = curve
    size, least = int(counts[-1]), int(counts[0])
    values = _losses(name, scores)
    if len(values) != size:
        msg = (
            f"latency: times[{name!r}] ends with {size} weights kept, expected the dense layer's, "
            f"{len(values)}"
        )
        raise ValueError(msg)
    every = np.arange(least, size + 1)
    seconds = np.minimum.accumulate(np.interp(every, counts, measured)[::-1])[::-1]
    lost = np.concatenate([[0.0], np.cumsum(np.sort(values))])[size - every]
    spread = np.linspace(0, size - least, min(_GRID, size - least + 1)).astype(np.int64)
    grid = np.union1d(spread, counts - least)
    # Of counts that take the same time, the largest loses the least.
    return _Layer(
        least, seconds, lost, _hull(np.unique(_last(seconds, seconds[grid])), seconds, lost)
    )


def _losses(name: str, scores: Any) -> Floats:
    where = f"latency: scores[{name!r}]"
    values = as_float64(checked_scores(scores, name=where)).reshape(-1)
    wrong = int(((values < 0) | np.isinf(values)).sum())
    if wrong:
        msg = f"{where} has {wrong} entries that are negative or infinite, expected losses"
        raise ValueError(msg)
    return values


def _last(seconds: Floats, at_most: Any) -> Any:
    """Return the last place whose time is at most that."""
    return np.searchsorted(seconds, at_most, side="right") - 1


def _hull(places: Ints, seconds: Floats, lost: Floats) -> Ints:
    """Keep the places on the lower convex hull; times rise and losses fall along them."""
    kept: list[int] = []
    x, y = seconds[places].tolist(), lost[places].tolist()
    for i in range(len(places)):
        while len(kept) > 1:
            a, b = kept[-2], kept[-1]
            if (y[a] - y[b]) * (x[i] - x[b]) > (y[b] - y[i]) * (x[b] - x[a]):
                break
            kept.pop()
        kept.append(i)
    return places[kept]


def _along_the_hulls(layers: Sequence[_Layer], budget: float) -> list[int]:
    """Take the steps that save most a second, as many as fit; return each layer's place."""
    owner = np.concatenate([np.full(len(layer.hull) - 1, i) for i, layer in enumerate(layers)])
    saved = np.concatenate([-np.diff(layer.lost[layer.hull]) for layer in layers])
    spent = np.concatenate([np.diff(layer.seconds[layer.hull]) for layer in layers])
    # Stable, and along each hull the rates fall: a layer's own steps stay in order.
    taken = owner[np.argsort(-saved / spent, kind="stable")]

    def places(steps: int) -> list[int]:
        done = np.bincount(taken[:steps], minlength=len(layers))
        return [int(layer.hull[at]) for layer, at in zip(layers, done, strict=True)]

    fits, too_many = 0, len(taken) + 1
    while too_many - fits > 1:
        middle = (fits + too_many) // 2
        if _total(layers, places(middle)) <= _allowed(budget):
            fits = middle
        else:
            too_many = middle
    return places(fits)


def _fill(layers: Sequence[_Layer], places: Sequence[int], budget: float) -> list[int]:
    """Let layers keep more while the budget lasts, those first whose next step saves most."""
    filled = list(places)
    for i in sorted(range(len(layers)), key=lambda i: -_next_rate(layers[i], places[i])):
        others = (
            float(m.seconds[at])
            for j, (m, at) in enumerate(zip(layers, filled, strict=True))
            if j != i
        )
        left = _allowed(budget) - math.fsum(others)
        filled[i] = max(filled[i], int(_last(layers[i].seconds, left)))
    return filled


def _next_rate(layer: _Layer, place: int) -> float:
    """Return the score saved a second by the hull's next step; 0 after the last."""
    at = int(np.searchsorted(layer.hull, place)) + 1
    if at >= len(layer.hull):
        return 0.0
    after = layer.hull[at]
    saved = layer.lost[place] - layer.lost[after]
    return float(saved / (layer.seconds[after] - layer.seconds[place]))


def _total(layers: Iterable[_Layer], places: Iterable[int]) -> float:
    return math.fsum(float(m.seconds[at]) for m, at in zip(layers, places, strict=True))


def _allowed(budget: float) -> float:
    return budget * (1 + _ROUNDING)
