"""Weights of a file with their smallest entries set to zero, one weight in memory at a time."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from sparsecore.interop import Array
from sparsecore.pruning import allocation, scores
from sparsecore.pruning.patterns import Unstructured, prune_mask
from sparsecore.pruning.streamed_threshold import global_counts
from sparsecore.weight_files.prune_request import Request, view, view_shape
from sparsecore.weight_files.weights import WeightFiles

__all__ = ["Pruned", "Pruning"]


@dataclass(frozen=True, slots=True)
class Pruned:
    """What became of a weight.

    Attributes
    ----------
    name : str
    shape : tuple of int
    before, after : int
        Nonzeros in the file, and in what is written.
    kept : int
        Entries of the mask; more than `after` where there were zeros among them.
    """

    name: str
    shape: tuple[int, ...]
    before: int
    after: int
    kept: int

    @property
    def size(self) -> int:
        """Number of entries."""
        return math.prod(self.shape)


class Pruning:
    """Weights, pruned when they are asked for.

    Parameters
    ----------
    weights : WeightFiles
    names : sequence of str
        From `selected`.
    request : Request

    Attributes
    ----------
    counts : dict of str to int
        How many entries each keeps.
    pruned : dict of str to Pruned
        What became of those that were asked for.

    Raises
    ------
    ValueError
        A weight has NaN.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from sparsecore.weight_files import open_weights
    >>> request = Request(0.5)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "in.npz")
    ...     np.savez(path, a=np.array([[1.0, -4.0], [3.0, 2.0]]), b=np.ones(2))
    ...     weights = open_weights(path)
    ...     pruning = Pruning(weights, ["a"], request)
    ...     print(pruning.result().dense("a").tolist(), pruning.pruned["a"].kept)
    [[0.0, -4.0], [3.0, 0.0]] 2
    """

    def __init__(self, weights: WeightFiles, names: Sequence[str], request: Request) -> None:
        self._weights, self._request = weights, request
        self._order = {name: i for i, name in enumerate(names)}
        self._shapes = {name: view_shape(weights[name], request) for name in names}
        self.counts = self._counted()
        self.pruned: dict[str, Pruned] = {}

    def result(self) -> WeightFiles:
        """Return the weights of the file, the selected ones pruned."""
        return self._weights.replacing({name: partial(self.prune, name) for name in self._order})

    def prune(self, name: str) -> Array:
        """Read a weight and prune it."""
        weight = self._weights.dense(name)
        kept = np.empty(weight.shape, bool)
        mask = prune_mask(self._scores(name, weight), self.counts[name], self._request.pattern)
        view(self._weights[name], self._request, kept)[...] = mask
        result: Array = np.where(kept, weight, np.zeros((), weight.dtype))
        before, after = (int(np.count_nonzero(array)) for array in (weight, result))
        self.pruned[name] = Pruned(name, weight.shape, before, after, int(np.count_nonzero(kept)))
        return result

    def _scores(self, name: str, weight: Array | None = None) -> Array:
        """Return the scores of a weight, in the shape in which its pattern lies."""
        weight = self._weights.dense(name) if weight is None else weight
        # Narrow floats are compared as float32, which holds each of them.
        wide = weight.astype(np.float32) if weight.dtype.itemsize < 4 else weight
        if np.isnan(wide).any():
            msg = f"{self._weights.path}: {name!r} has NaN, which has no rank"
            raise ValueError(msg)
        found = _SCORES[self._request.score](name, wide, (self._request.seed, self._order[name]))
        return np.ascontiguousarray(view(self._weights[name], self._request, np.asarray(found)))

    def _counted(self) -> dict[str, int]:
        fixed = {n: self._request.pattern.fixed_count(s) for n, s in self._shapes.items()}
        counts = {name: count for name, count in fixed.items() if count is not None}
        if counts:
            return counts
        return {
            name: self._request.pattern.round_count(self._shapes[name], count)
            for name, count in self._allocated().items()
        }

    def _allocated(self) -> dict[str, int]:
        shapes: Mapping[str, tuple[int, ...]] = {n: self._weights[n].shape for n in self._order}
        sparsity = self._request.sparsity
        if self._request.allocation == "uniform":
            return allocation.uniform(shapes, sparsity)
        if self._request.allocation != "global":
            kernel = self._request.allocation == "erk"
            return allocation.erdos_renyi(shapes, sparsity, kernel=kernel)
        sizes = {name: math.prod(shape) for name, shape in shapes.items()}
        size = sum(sizes.values())
        # Means of groups are float64, as are scores but magnitudes.
        is_plain = self._request.score == "magnitude" and self._request.pattern == Unstructured()
        is_double = not is_plain or any(self._weights[n].dtype == "float64" for n in self._order)
        return global_counts(sizes, self._spread, size - round(sparsity * size), double=is_double)

    def _spread(self, name: str) -> Array:
        return np.asarray(self._request.pattern.spread(self._scores(name)))


def _random(name: str, weight: Array, seed: tuple[int, int]) -> Any:
    # Drawn anew from the same seed in each pass over the weights.
    return scores.random({name: weight}, generator=np.random.default_rng(seed))[name]


_SCORES = {
    "magnitude": lambda name, weight, _: scores.magnitude({name: weight})[name],
    "lamp": lambda name, weight, _: scores.lamp({name: weight})[name],
    "random": _random,
}
