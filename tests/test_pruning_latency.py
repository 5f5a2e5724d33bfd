"""The latency allocation: against brute force, Everett's theorem, and bad input."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsecore.pruning import allocation, prune_mask

# Halves and small integers: sums of them are exact in any order.
HALVES = st.integers(0, 12).map(lambda n: n / 2)


@st.composite
def problems(draw):
    """Return scores and times of up to three small layers."""
    scores, times = {}, {}
    for name in "abc"[: draw(st.integers(1, 3))]:
        size = draw(st.integers(1, 6))
        scores[name] = np.array(draw(st.lists(HALVES, min_size=size, max_size=size)))
        counts = [*sorted(draw(st.sets(st.integers(0, size - 1), max_size=3))), size]
        times[name] = [(count, draw(HALVES)) for count in counts]
    return scores, times


def seconds_of(measured, count):
    """Return the time by its definition: the fastest of all that keep at least as many."""
    counts, seconds = zip(*measured, strict=True)
    every = range(count, counts[-1] + 1)
    return min(float(np.interp(k, counts, seconds)) for k in every)


def lost(scores, kept):
    return sum(float(np.sort(scores[n])[: len(scores[n]) - kept[n]].sum()) for n in scores)


def total(times, kept):
    return sum(seconds_of(times[name], count) for name, count in kept.items())


def all_allocations(times):
    """Yield every allocation within the measured range, its time and its counts."""
    ranges = [range(measured[0][0], measured[-1][0] + 1) for measured in times.values()]
    for counts in itertools.product(*ranges):
        yield dict(zip(times, counts, strict=True))


# ---- what is the least ----


@given(problems(), st.floats(0, 1))
def test_no_allocation_at_a_multiplier_that_fits_loses_less(problem, share):
    """Everett: least (lost + multiplier * time) is optimal for its own time. Ours is at most that.

    And ours is within the budget, and no better than the best of all.
    """
    scores, times = problem
    found = [(total(times, kept), lost(scores, kept)) for kept in all_allocations(times)]
    least, most = min(t for t, _ in found), max(t for t, _ in found)
    budget = least + share * (most - least)
    kept = allocation.latency(scores, times, budget)
    assert total(times, kept) <= budget + 1e-9
    ours = lost(scores, kept)
    within = [loss for time, loss in found if time <= budget]
    assert ours >= min(within) - 1e-9
    for multiplier in (1e-6, 0.01, 0.1, 0.3, 0.7, 1.3, 3.0, 10.0, 1e3, 1e6):
        value = min(loss + multiplier * time for time, loss in found)
        fits = [
            loss
            for time, loss in found
            if loss + multiplier * time <= value * (1 + 1e-12) and time <= budget
        ]
        assert ours <= min(fits, default=np.inf) + 1e-6
    # The bound by one step of one layer, of which none saves more than all that can be saved.
    steps = [lost(scores, {n: times[n][0][0] if n == m else len(scores[n]) for n in scores})
             for m in scores]  # fmt: skip
    assert ours <= min(within) + max(steps) + 1e-9


@given(problems())
def test_it_is_optimal_where_time_is_proportional_to_the_count(problem):
    scores, _ = problem
    times = {name: [(0, 0.0), (len(s), float(len(s)))] for name, s in scores.items()}
    joined = np.sort(np.concatenate(list(scores.values())))
    for kept_in_all in range(len(joined) + 1):
        kept = allocation.latency(scores, times, float(kept_in_all))
        assert sum(kept.values()) == kept_in_all
        assert lost(scores, kept) == joined[: len(joined) - kept_in_all].sum()


@given(problems(), st.floats(0, 1))
def test_no_layer_could_keep_one_more(problem, share):
    scores, times = problem
    least = sum(seconds_of(measured, measured[0][0]) for measured in times.values())
    dense = sum(measured[-1][1] for measured in times.values())
    budget = least + share * (dense - least)
    kept = allocation.latency(scores, times, budget)
    for name, count in kept.items():
        if count < len(scores[name]):
            assert total(times, kept | {name: count + 1}) > budget


def test_the_slow_layer_is_pruned_and_the_kept_fit_the_budget():
    """Two layers of equal scores, one four times as slow a weight."""
    rng = np.random.default_rng(0)
    scores = {name: rng.random((200, 100)) for name in ("slow", "fast")}
    times = {"slow": [(0, 0.0), (20000, 8.0)], "fast": [(0, 0.0), (20000, 2.0)]}
    kept = allocation.latency(scores, times, 5.0)
    assert total(times, kept) == pytest.approx(5.0, abs=8.0 / 20000)
    # At the optimum both layers' last scores stand as their prices: of 20000 uniform numbers.
    last = {n: float(np.sort(scores[n], axis=None)[20000 - kept[n]]) for n in kept}
    assert last["slow"] / last["fast"] == pytest.approx(4, rel=5e-3)


def test_sizes_above_the_grid_lose_little_more_than_the_best():
    """Against the best of a fine search over one multiplier, whose bound is the dual's value."""
    rng = np.random.default_rng(1)
    scores = {name: rng.random(30_000) ** 3 for name in "ab"}
    times = {"a": [(300, 1.0), (9000, 2.0), (30000, 5.0)], "b": [(0, 0.0), (30000, 2.0)]}
    budget = 3.3
    curves = []
    for name in "ab":
        counts = np.arange(times[name][0][0], 30001)
        seconds = np.interp(counts, *zip(*times[name], strict=True))
        losses = np.append(0.0, np.cumsum(np.sort(scores[name])))[30000 - counts]
        curves.append((seconds, losses))
    bound = max(
        sum(float((losses + m * seconds).min()) for seconds, losses in curves) - m * budget
        for m in np.geomspace(10, 1e5, 400)
    )
    ours = lost(scores, allocation.latency(scores, times, budget))
    assert bound <= ours <= bound * 1.0005


def test_counts_are_those_of_the_definition():
    times = {"a": [(2, 1.0), (4, 3.0), (8, 2.0)], "b": [(0, 1.5), (3, 1.5)]}
    for a, b in itertools.product(range(2, 9), range(4)):
        kept = {"a": a, "b": b}
        assert allocation.predicted_seconds(times, kept) == total(times, kept)
    assert allocation.predicted_seconds(times, {"a": 0, "b": 0}) == 2.5


def test_tensors_and_the_counts_fit_prune_mask():
    torch = pytest.importorskip("torch")
    scores = {"w": torch.tensor([[0.5, 2.0], [1.0, 3.0]], requires_grad=True)}
    kept = allocation.latency(scores, {"w": [(1, 1.0), (4, 4.0)]}, 2.0)
    assert kept == {"w": 2}
    assert prune_mask(scores["w"], kept["w"]).tolist() == [[False, True], [False, True]]


# ---- what is refused ----

S = {"a": np.array([1.0, 2.0])}
T = {"a": [(1, 1.0), (2, 2.0)]}


@pytest.mark.parametrize(
    ("scores", "times", "budget", "error", "text"),
    [
        (S, T, 0.5, ValueError, r"budget is 0.5 s, expected a finite number of at least 1 s"),
        (S, T, np.nan, ValueError, r"budget is nan s"),
        (S, T, np.inf, ValueError, r"budget is inf s"),
        (S, {}, 2, ValueError, r"times has no layer 'a', which scores has"),
        ({}, T, 2, ValueError, r"scores has no layer 'a', which times has"),
        ({"a": np.array([1, np.nan])}, T, 2, ValueError, r"scores\['a'\] has 1 NaN among 2"),
        ({"a": np.array([-1.0, 1])}, T, 2, ValueError, r"1 entries that are negative or infinite"),
        ({"a": np.array([np.inf, 1])}, T, 2, ValueError, r"1 entries that are negative or infi"),
        ({"a": [1.0, 2.0]}, T, 2, TypeError, r"scores\['a'\] is list, expected a numpy array"),
        ({"a": np.ones(3)}, T, 2, ValueError, r"ends with 2 weights kept, expected .*, 3"),
        (S, {"a": [(2, 1.0), (1, 2.0)]}, 2, ValueError, r"kept counts \[2, 1\], expected rising"),
        (S, {"a": [(2, 1.0), (2, 2.0)]}, 2, ValueError, r"kept counts \[2, 2\], expected rising"),
        (S, {"a": [(-1, 1.0), (2, 2.0)]}, 2, ValueError, r"kept counts \[-1, 2\]"),
        (S, {"a": []}, 2, ValueError, r"kept counts \[\], expected"),
        (S, {"a": [(1, -1.0), (2, 2.0)]}, 2, ValueError, r"has the time -1.0 s"),
        (S, {"a": [(1, np.nan), (2, 2.0)]}, 2, ValueError, r"has the time nan s"),
        (S, {"a": [(0.5, 1.0), (2, 2.0)]}, 2, TypeError, r"expected pairs of a kept count"),
        (S, {"a": 3}, 2, TypeError, r"times\['a'\] is 3, expected pairs"),
    ],
)
def test_bad_input_is_named(scores, times, budget, error, text):
    with pytest.raises(error, match=text):
        allocation.latency(scores, times, budget)


def test_predicted_seconds_refuses_counts_beyond_the_size():
    with pytest.raises(ValueError, match=r"kept\['a'\] is 3, expected 0 to its size, 2"):
        allocation.predicted_seconds(T, {"a": 3})
    with pytest.raises(ValueError, match="predicted_seconds: times has no layer 'b', which kept"):
        allocation.predicted_seconds(T, {"a": 1, "b": 1})


def test_nothing_to_allocate():
    assert allocation.latency({}, {}, 1.0) == {}
