"""What products with few columns execute, beside a walk through the kernels' warps."""

import itertools

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from sparsecore.cuda.row_work import warp_instructions  # noqa: E402


def pieces_of(lengths):
    """Return the pieces that csrc/cuda/pieces.h makes of rows."""
    entries = sum(lengths)
    longest = next(n for n in (256 << i for i in itertools.count()) if n * 2048 >= entries)
    for length in lengths:
        yield from [longest] * ((length - 1) // longest if length else 0)
        yield (length - 1) % longest + 1 if length else 0


def walked(lengths, lanes):
    """Return the steps of warps, whose segments of lanes take a piece each."""
    pieces = list(pieces_of(lengths))
    warps = [pieces[i : i + 32 // lanes] for i in range(0, len(pieces), 32 // lanes)]
    return sum(max(-(-piece // lanes) for piece in warp) for warp in warps), len(pieces)


# Instructions of a warp for a step, and for what comes before and after, by columns.
STEP = {1: 14, 2: 43, 3: 43, 4: 43, 5: 85, 8: 85}
PIECE = {1: 156, 2: 200, 3: 200, 4: 200, 5: 250, 8: 250}


@pytest.mark.parametrize(
    ("lengths", "columns", "lanes"),
    [
        ([20] * 37, 1, 32),
        ([20, 300, 600, 0, 513], 3, 32),
        ([5] * 31 + [30, 0, 9], 8, 8),
        ([10] * 6, 2, 8),
        ([1, 2, 3, 0, 9] * 7, 1, 2),
        ([1, 2, 3, 0, 9] * 7, 4, 4),
        ([1, 2, 3, 0, 9] * 7, 5, 8),
    ],
)
def test_warps_along_rows(lengths, columns, lanes):
    indptr = torch.tensor([0, *np.cumsum(lengths)])
    work = warp_instructions(indptr, int(indptr[-1]), columns)
    steps, pieces = walked(lengths, lanes)
    assert work["rows"] == STEP[columns] * steps + PIECE[columns] * pieces / (32 / lanes)


def test_shares_take_the_same_however_entries_are_spread():
    for columns in (1, 4, 7):
        even, uneven = (
            warp_instructions(torch.tensor([0, *np.cumsum(lengths)]), 640, columns)
            for lengths in ([16] * 40, [0] * 38 + [40, 600])
        )
        assert even["merge"] == uneven["merge"]
    five = warp_instructions(torch.tensor([0, 32]), 32, 5)["merge"]
    assert five == 2 * (57 + 79) + (2 * 79 + 7 + 5 * 95) / 32
    one = warp_instructions(torch.tensor([0, 32]), 32, 1)["merge"]
    # An entry, its step, and the row's: instructions of a lane, of which a warp has 32.
    assert one == 16 + 59 + (59 + 7 + 70) / 32


def test_short_rows_and_uneven_ones_go_by_shares():
    rng = np.random.default_rng(1)
    for lengths, chosen in (
        (np.full(2000, 20), "merge"),
        (np.full(2000, 1000), "rows"),
        (np.where(rng.random(20000) < 0.95, 3, 300), "merge"),
    ):
        indptr = torch.tensor([0, *np.cumsum(lengths)])
        work = warp_instructions(indptr, int(indptr[-1]), 1)
        assert min(work, key=work.__getitem__) == chosen


def test_every_width_of_offsets():
    lengths = torch.tensor([0, 3, 9, 40])
    want = warp_instructions(lengths, 40, 2)
    for dtype in (torch.uint8, torch.uint16, torch.uint32):
        assert warp_instructions(lengths.to(dtype), 40, 2) == want
