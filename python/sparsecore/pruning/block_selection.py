"""Blocks of a matrix: which counts of entries they can make up, and the best blocks of a count.

Where the matrix is no multiple of the block, blocks at the right and lower edge are smaller. Blocks
then come in up to four sizes, and a count of entries may be made up of them in several ways: the
one whose sum of scores is largest is taken.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Tiling"]

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Tiling:
    """A matrix of (rows, cols) cut into blocks of (r, c) from its first entry on."""

    rows: int
    cols: int
    r: int
    c: int

    def nearest_counts(self, kept: int, within: Floats | None = None) -> tuple[int, int]:
        """Return the counts of entries of whole blocks around `kept`, 0 to rows * cols.

        Of all blocks, or of those that have a nonzero in `within`, shape (rows, cols).
        """
        kinds = self._kinds()
        if within is not None:
            alive = self.sums(within) > 0
            kinds = [replace(kind, count=int(alive[kind.where].sum())) for kind in kinds]
            kept = min(kept, sum(kind.count * kind.size for kind in kinds))
        inner, rest = kinds[0], _edges(kinds).reshape(-1)
        left = kept - rest
        below = rest + inner.size * np.clip(left // inner.size, 0, inner.count)
        above = rest + inner.size * np.clip(-(-left // inner.size), 0, inner.count)
        return int(below[below <= kept].max()), int(above[above >= kept].min())

    def select(self, scores: Floats, kept: int) -> npt.NDArray[np.bool_]:
        """Return the mask of the blocks with the largest sum whose entries are `kept`.

        Parameters
        ----------
        scores : array of float64, shape (rows, cols)
            No NaN. Infinite ones count first: as few -inf as possible, then as many inf.
        kept : int
            A count that `nearest_counts` gives.

        Raises
        ------
        ValueError
            A block has both inf and -inf.
        """
        sums = self.sums(scores)
        chosen = np.zeros(sums.shape, bool)
        parts = [_Ranked(sums[kind.where], chosen[kind.where]) for kind in self._kinds()]
        for part, count in zip(parts, self._counts(parts, kept), strict=True):
            part.choose(count)
        return self.expand(chosen)

    def sums(self, scores: Floats) -> Floats:
        """Return the sum of each block, summed in one order on every machine; NaN is refused."""
        if not scores.size:
            return np.zeros((-(-self.rows // self.r), -(-self.cols // self.c)))
        scores = np.ascontiguousarray(scores)
        with np.errstate(invalid="ignore"):
            by_row = np.add.reduceat(scores, range(0, self.rows, self.r), axis=0)
            sums: Floats = np.add.reduceat(by_row, range(0, self.cols, self.c), axis=1)
        if np.isnan(sums).any():
            msg = "prune_mask: scores: a block has both inf and -inf, whose sum has no rank"
            raise ValueError(msg)
        return sums

    def means(self, scores: Floats) -> Floats:
        """Return for each entry the mean of its block."""
        means: Floats = self.sums(scores) / self.sums(np.ones(scores.shape))
        return self.expand(means)

    def expand(self, blocks: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return a value a block as one an entry."""
        tall = np.repeat(blocks, self.r, axis=0)[: self.rows]
        return np.repeat(tall, self.c, axis=1)[:, : self.cols]

    def _kinds(self) -> list[_Kind]:
        """Return the blocks of each size: inner, right, lower and the corner."""
        (tall, low), (wide, thin) = divmod(self.rows, self.r), divmod(self.cols, self.c)
        r, c = self.r, self.c
        return [
            _Kind(tall * wide, r * c, np.s_[:tall, :wide]),
            _Kind(tall * (thin > 0), r * thin, np.s_[:tall, wide:]),
            _Kind(wide * (low > 0), low * c, np.s_[tall:, :wide]),
            _Kind(int(low > 0 and thin > 0), low * thin, np.s_[tall:, wide:]),
        ]

    def _counts(self, parts: list[_Ranked], kept: int) -> list[int]:
        """Return how many blocks of each size make up `kept` with the largest sum."""
        kinds = self._kinds()
        inner = kinds[0]
        whole, remainder = np.divmod(kept - _edges(kinds), inner.size)
        ways = np.argwhere((remainder == 0) & (whole >= 0) & (whole <= inner.count))
        counts = np.column_stack([whole[tuple(ways.T)], ways])
        # lexsort: the last key decides first, and of equal ones the earlier way.
        totals = sum(part.totals[:, n] for part, n in zip(parts, counts.T, strict=True))
        best = np.lexsort(totals)[0]
        return [int(n) for n in counts[best]]


@dataclass(frozen=True, slots=True)
class _Kind:
    """Blocks of one size: how many, of how many entries, and where among the blocks."""

    count: int
    size: int
    where: tuple[slice, slice]


def _edges(kinds: list[_Kind]) -> Integers:
    """Return the entries of each choice of how many blocks of the three sizes at the edges."""
    right, lower, corner = (np.arange(kind.count + 1) * kind.size for kind in kinds[1:])
    return right[:, None, None] + lower[:, None] + corner


class _Ranked:
    """Blocks of one size from the best to the worst, and what the best n of them sum to."""

    def __init__(self, sums: Floats, chosen: npt.NDArray[np.bool_]) -> None:
        self._chosen = chosen
        flat = sums.reshape(-1)
        self._order = np.argsort(-flat, kind="stable")
        ranked = flat[self._order]
        finite = np.where(np.isfinite(ranked), ranked, 0.0)
        # Smaller is better: the sum negated, inf negated, -inf.
        keys = np.stack([-finite, -1.0 * np.isposinf(ranked), 1.0 * np.isneginf(ranked)])
        self.totals = np.pad(np.cumsum(keys, axis=1), ((0, 0), (1, 0)))

    def choose(self, count: int) -> None:
        flat = np.zeros(self._chosen.size, bool)
        flat[self._order[:count]] = True
        self._chosen[...] = flat.reshape(self._chosen.shape)
