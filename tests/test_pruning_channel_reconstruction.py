"""pruning/structured/channel_reconstruction.py: greedy choice and least squares."""

import itertools
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from sparsecore.pruning.structured import (  # noqa: E402
    least_squares_factors,
    reconstruction_error,
    thinet_channels,
)

_DRAWN = np.random.default_rng(0).normal(size=(40, 7))
X = _DRAWN + 0.6 * np.roll(_DRAWN, 1, axis=1) - 0.5 * _DRAWN[:, [3, 3, 0, 1, 0, 2, 2]]  # correlated


def missed(kept: Any) -> float:
    return float(sum((X[i].sum() - X[i, list(kept)].sum()) ** 2 for i in range(len(X))))


@pytest.mark.parametrize("kept", range(1, 8))
def test_the_greedy_choice_is_the_one_of_the_paper(kept: int) -> None:
    removed: list[int] = []
    while len(removed) < 7 - kept:
        costs = {
            j: sum(X[i, [*removed, j]].sum() ** 2 for i in range(len(X)))
            for j in range(7)
            if j not in removed
        }
        removed.append(min(costs, key=lambda j: costs[j]))
    found = thinet_channels(X, kept)
    assert found == sorted(set(range(7)) - set(removed))
    best = min(missed(subset) for subset in itertools.combinations(range(7), kept))
    assert missed(found) >= best * (1 - 1e-12)
    assert missed(found) <= 1.5 * best  # greedy is not the best of all subsets, but near it here
    assert reconstruction_error(X, found) == pytest.approx(missed(found), rel=1e-12)


def test_what_was_removed_already_counts_twice_with_each_other_channel() -> None:
    x = np.array([[1.0, -2.0, 0.0], [0.0, 0.0, 1.1]])
    # The first goes; with it the second adds 4 - 2 * 2 = 0, the third 1.21.
    assert thinet_channels(x, 1) == [2]


def test_ties_and_classes() -> None:
    assert thinet_channels(np.ones((3, 5)), 2) == [0, 1]
    strong = np.diag([4.0, 3.0, 2.0, 1.0])
    assert thinet_channels(strong, 2) == [0, 1]
    assert thinet_channels(strong, 2, classes=[0, 0, 1, 1]) == [0, 2]


def test_factors_are_those_of_least_squares() -> None:
    kept = [0, 2, 5]
    factors = least_squares_factors(torch.from_numpy(X), kept)
    expected = np.linalg.lstsq(X[:, kept], X.sum(1), rcond=None)[0]
    np.testing.assert_allclose(factors, expected, rtol=1e-12)
    assert reconstruction_error(X, kept, factors) < reconstruction_error(X, kept)
    dead = np.column_stack([X, np.zeros(40)])  # least squares leaves its factor open
    assert least_squares_factors(dead, [0, 2, 5, 7])[3] == 1.0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: thinet_channels(X[0], 1), r"shape \(7,\), expected \(samples, channels\)"),
        (lambda: thinet_channels(X, 0), "kept is 0, expected 1 to 7"),
        (lambda: thinet_channels(X, True), "kept is True, expected 1 to 7"),
        (lambda: least_squares_factors(X, [0, -1]), r"kept is \[0, -1\], expected different"),
        (lambda: least_squares_factors(X, [0, 0]), r"kept is \[0, 0\], expected different"),
        (lambda: reconstruction_error(X, [0, 7]), "expected different channels from 0 to 6"),
        (
            lambda: reconstruction_error(X, [0], np.ones(2)),
            r"factors has shape \(2,\), kept 1 channels",
        ),
        (lambda: thinet_channels(X, 3, classes=[0, 1] * 3 + [0]), "classes"),
        (lambda: reconstruction_error(np.full((1, 2), np.nan), [0]), "2 NaN or infinite"),
    ],
)
def test_the_arithmetic_refuses(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
