"""What a mask update drops and grows: published figures, and numpy on whole matrices."""

from __future__ import annotations

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from sparsecore.pruning.growth import drop_fraction, largest_outside, smallest  # noqa: E402

# google-research/jaxpruner@f133ee50, jaxpruner/algorithms/sparse_trainers_test.py: the masks that a
# RigL update makes of these. It ranks what to drop by signed scores (1, -1, 8, -2 where the mask
# is); these magnitudes have the same order.
OLD = [0, 1, 0, 1, 0, 1, 1, 0]
DROP_RANK = [0.0, 3.0, 0.0, -2.0, 0.0, -10.0, 1.0, 0.0]
GROW = [9.0, 1.0, 4.0, 1.0, 5.0, 8.0, 2.0, 3.0]


@pytest.mark.parametrize(
    ("fraction", "expected"),
    [
        (0.0, [0, 1, 0, 1, 0, 1, 1, 0]),
        (0.5, [1, 1, 0, 0, 1, 1, 0, 0]),
        (0.75, [1, 0, 1, 0, 1, 1, 0, 0]),
        (1.0, [1, 0, 1, 0, 1, 1, 0, 0]),
    ],
)
def test_update_is_jaxpruners(fraction: float, expected: list[int]) -> None:
    flat = torch.tensor(OLD).nonzero().flatten()
    count = math.floor(fraction * len(flat))
    drop = smallest(torch.tensor(DROP_RANK)[flat], count, name="w")
    stays = flat[~torch.isin(torch.arange(len(flat)), drop)]
    rows = [(i, torch.tensor(GROW[2 * i : 2 * i + 2])[None]) for i in range(4)]
    grown = largest_outside(rows, stays, count, name="g")
    mask = torch.zeros(8, dtype=torch.int64)
    mask[torch.cat([stays, grown])] = 1
    assert mask.tolist() == expected


@pytest.mark.parametrize("rows", [1, 3, 8])
@pytest.mark.parametrize("ties", [False, True])
def test_largest_outside_is_that_of_the_whole_matrix(rows: int, ties: bool) -> None:
    rng = np.random.default_rng(rows)
    matrix = rng.standard_normal((8, 9))
    matrix = np.round(matrix) if ties else matrix
    for taken, count in ((20, 30), (0, 72), (71, 1), (5, 0), (60, 12)):
        places = np.sort(rng.permutation(72)[:taken])
        ranked = np.abs(matrix).reshape(-1)
        ranked[places] = -1
        expected = np.sort(np.argsort(-ranked, kind="stable")[:count])
        blocks = ((i, torch.tensor(matrix[i : i + rows])) for i in range(0, 8, rows))
        found = largest_outside(blocks, torch.tensor(places), count, name="g")
        np.testing.assert_array_equal(found, expected)


def test_smallest_takes_the_later_of_equals() -> None:
    assert smallest(torch.tensor([2.0, -1.0, 1.0, 3.0]), 1, name="w").tolist() == [2]
    assert smallest(torch.tensor([2.0]), 0, name="w").tolist() == []


def test_nan_is_refused() -> None:
    bad = torch.tensor([[1.0, math.nan]])
    with pytest.raises(ValueError, match="w has 1 NaN"):
        smallest(bad[0], 1, name="w")
    with pytest.raises(ValueError, match="g has 1 NaN"):
        largest_outside([(0, bad)], torch.empty(0, dtype=torch.int64), 1, name="g")


def test_drop_fraction_is_the_papers_cosine() -> None:
    assert drop_fraction(0, alpha=0.3, stop=75) == 0.3
    assert drop_fraction(25, alpha=0.3, stop=75) == pytest.approx(0.225, rel=1e-15)
    assert drop_fraction(50, alpha=0.3, stop=75) == pytest.approx(0.075, rel=1e-15)
    assert drop_fraction(75, alpha=0.3, stop=75) == drop_fraction(100, alpha=0.3, stop=75) == 0
