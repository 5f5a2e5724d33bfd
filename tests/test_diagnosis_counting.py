"""diagnosis/counting.py: zeros and groups of four, against loops."""

from __future__ import annotations

import itertools
import tracemalloc

import hypothesis.strategies as st
import ml_dtypes
import numpy as np
import pytest
from hypothesis import given

from diagnosis_cases import two_of_four
from oracle import Array
from sparsecore.diagnosis import counting
from sparsecore.diagnosis.counting import count

SHAPES = [(1, 1), (5, 7), (8, 4), (3, 6, 2, 2), (4, 3, 3), (2, 0), (0, 4), (9,), ()]


def test_the_axis_that_is_summed_over_is_counted() -> None:
    weight = two_of_four(2, 3, 8, 5, axis=2)
    shares = count(weight, 2).share_24
    assert set(shares) == {"axis 0", "axis 1", "axis 2", "flattened"}
    assert shares["axis 2"] == 1.0 > shares["flattened"]
    assert count(weight, 3).share_24["axis 3"] == share_by_loops(lines_along(weight, 3))
    assert "axis 2" not in count(weight).share_24


@pytest.mark.parametrize("shape", [(1 << 40, 0), (0, 1 << 40), (0, 3, 3, 3), (1 << 30, 0, 7)])
def test_what_is_empty_costs_nothing(shape: tuple[int, ...]) -> None:
    """Such a shape takes no bytes of a file, and must take none here."""
    tracemalloc.start()
    try:
        counts = count(np.empty(shape, np.float32), 1)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (counts.size, counts.nonzeros, set(counts.share_24.values())) == (0, 0, {1.0})
    assert peak < 100_000


def share_by_loops(lines: list[Array]) -> float:
    """Return the fraction of groups of four of some lines with at most two nonzeros."""
    groups = [line[i : i + 4] for line in lines for i in range(0, len(line), 4)]
    return sum(np.count_nonzero(group) <= 2 for group in groups) / len(groups) if groups else 1.0


def lines_along(weight: Array, axis: int) -> list[Array]:
    others = [range(n) for i, n in enumerate(weight.shape) if i != axis]
    moved = np.moveaxis(weight, axis, -1)
    return [moved[place] for place in itertools.product(*others)]


@given(
    st.sampled_from(SHAPES),
    st.floats(0, 1),
    st.sampled_from(
        [np.float32, np.int8, np.bool_, ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, np.float16]
    ),
    st.integers(0, 99),
    st.sampled_from([1, 8, 1 << 20]),
)
def test_counts_are_those_of_loops(
    shape: tuple[int, ...], sparsity: float, dtype: type, seed: int, piece: int
) -> None:
    weight = (np.random.default_rng(seed).random(shape) >= sparsity).astype(dtype)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(counting, "_PIECE", piece)
        counts = count(np.asarray(weight))
    assert (counts.size, counts.nonzeros) == (weight.size, np.count_nonzero(weight))
    want = {f"axis {a}": share_by_loops(lines_along(weight, a)) for a in range(min(len(shape), 2))}
    if len(shape) > 2:
        want["flattened"] = share_by_loops(list(weight.reshape(len(weight), -1)))
    assert counts.share_24 == want


@pytest.mark.parametrize("dtype", [np.float64, np.float16, ml_dtypes.bfloat16])
def test_signed_zero_is_zero_and_nan_is_not(dtype: type) -> None:
    counts = count(np.array([[-0.0, np.nan, 1.0, np.inf]]).astype(dtype))
    assert counts.nonzeros == 3
    assert counts.share_24["axis 1"] == 0.0


@pytest.mark.parametrize("axis", [0, 1])
def test_the_axis_of_a_pattern_shows(axis: int) -> None:
    counts = count(two_of_four(16, 16, axis=axis))
    # Across the pattern, half of the groups are full and half are empty.
    assert counts.share_24 == {f"axis {axis}": 1.0, f"axis {1 - axis}": 0.5}
    assert counts.sparsity == 0.5
