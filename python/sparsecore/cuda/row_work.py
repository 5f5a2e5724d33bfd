"""How many instructions a product with a few columns takes, by rows and by equal shares of work.

Both kernels read the same bytes, but a warp that goes along a row leaves lanes idle where rows are
short or differ in length (csrc/cuda/row_products.h), and shares cost some instructions for each
entry and each row, whatever their lengths (csrc/cuda/merge_rows.cu). The counts are of the
compiler's code for sm_90a, fp32 and indices of 4 bytes, types known; no device was measured.
"""

from dataclasses import dataclass
from typing import Any

from sparsecore import interop

MOST_COLUMNS = 8  # of both kernels for few columns
_WARP = 32


@dataclass(frozen=True, slots=True)
class _ByRows:
    """Instructions of a warp: for each step along its rows, and besides."""

    step: int
    piece: int


@dataclass(frozen=True, slots=True)
class _ByShares:
    """Instructions of a lane: for an entry, a step of the merge path, and an item of the result."""

    entry: int
    step: int
    result: int


# By the columns that a kernel is compiled for.
_BY_ROWS = {1: _ByRows(14, 156), 4: _ByRows(43, 200), 8: _ByRows(85, 250)}
_BY_SHARES = {1: _ByShares(16, 59, 70), 4: _ByShares(57, 79, 95)}
_OFFSET = 7  # and for a row


def warp_instructions(indptr: Any, entries: int, columns: int) -> dict[str, float]:
    """Return what warps execute of each kernel, all together. Waits for the device once.

    Parameters
    ----------
    indptr : (m + 1,) integer tensor
        A matrix's row offsets, on any device.
    entries : int
        The last of them.
    columns : int
        Of X, from 1 to `MOST_COLUMNS`.

    Returns
    -------
    {"rows": float, "merge": float}

    Examples
    --------
    Shares are worth their instructions where rows are much shorter than a warp is wide.

    >>> import torch
    >>> from sparsecore.cuda.row_work import warp_instructions
    >>> for entries in (20, 500):
    ...     work = warp_instructions(torch.arange(1001) * entries, 1000 * entries, 1)
    ...     print(entries, min(work, key=work.get))
    20 merge
    500 rows
    """
    torch = interop.import_torch()
    lengths = indptr.to(torch.int64).diff()
    rows, width = len(lengths), next(width for width in _BY_ROWS if columns <= width)
    longest = _piece_length(entries)
    further = (lengths - 1).clamp(min=0) // longest
    choices = (max(width, 2), 8, _WARP)
    walks = [_walked(lengths, lanes, longest) for lanes in choices]
    found = interop.to_host(
        torch.stack([further.sum(), *(sum_ for walk in walks for sum_ in walk)])
    )
    pieces, sums = rows + int(found[0]), found[1:].reshape(-1, 2)
    lanes = _lanes_of_piece(pieces, entries, width)
    first, rest = sums[choices.index(lanes)]
    by_rows, in_warp = _BY_ROWS[width], _WARP // lanes
    return {
        "rows": by_rows.step * float(first + rest / in_warp) + by_rows.piece * pieces / in_warp,
        "merge": _of_shares(rows, entries, columns) / _WARP,
    }


def _walked(lengths: Any, lanes: int, longest: int) -> tuple[Any, Any]:
    """Return the steps of warps along rows' first pieces, and of segments along all others.

    A warp goes on until the last of its segments, which have neighbouring rows, is done.
    """
    torch = interop.import_torch()
    steps = -(-lengths // lanes)
    first = steps.clamp(max=longest // lanes)
    in_warp = _WARP // lanes
    side_by_side = torch.nn.functional.pad(first, (0, -len(lengths) % in_warp)).view(-1, in_warp)
    return side_by_side.amax(1).sum(), (steps - first).sum()


def _of_shares(rows: int, entries: int, columns: int) -> float:
    """Return the instructions of lanes."""
    width = 1 if columns == 1 else 4
    by_shares, passes = _BY_SHARES[width], -(-columns // width)
    walked = passes * (by_shares.entry * entries + by_shares.step * (entries + rows))
    return walked + (_OFFSET + by_shares.result * columns) * rows


def _piece_length(entries: int) -> int:
    """Return how many entries of a row stay together (piece_length in csrc/cuda/pieces.h)."""
    length = 256
    while length * 2048 < entries:
        length *= 2
    return length


def _lanes_of_piece(pieces: int, entries: int, width: int) -> int:
    """Return how many lanes a piece is given (narrow in csrc/cuda/row_products.h)."""
    few = max(width, 2)
    if entries < 4 * pieces and few < 8:
        return few
    return 8 if entries < 16 * pieces else _WARP
