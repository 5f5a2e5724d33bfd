"""Allocations: exact totals, rounding, and what they refuse."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsecore.pruning import allocation, prune_mask

SPARSITY = st.floats(0, 1, exclude_max=True)
SHAPE = st.lists(st.integers(1, 12), min_size=2, max_size=4).map(tuple)
SHAPES = st.lists(SHAPE, min_size=1, max_size=6).map(
    lambda shapes: {f"layer{i}": shape for i, shape in enumerate(shapes)}
)
ALLOCATIONS = [
    allocation.uniform,
    allocation.erdos_renyi,
    lambda shapes, sparsity: allocation.erdos_renyi(shapes, sparsity, kernel=False),
]

LENET = {"fc1": (300, 784), "fc2": (100, 300), "fc3": (10, 100)}


def kept_total(shapes, sparsity):
    size = sum(math.prod(shape) for shape in shapes.values())
    return size - round(sparsity * size)


# ---- exact counts ----


@pytest.mark.parametrize("allocate", ALLOCATIONS, ids=["uniform", "ERK", "ER"])
@given(shapes=SHAPES, sparsity=SPARSITY)
def test_counts_are_possible_and_sum_to_the_exact_total(allocate, shapes, sparsity):
    counts = allocate(shapes, sparsity)
    assert list(counts) == list(shapes)
    assert all(type(count) is int for count in counts.values())
    assert all(0 <= counts[name] <= math.prod(shape) for name, shape in shapes.items())
    assert sum(counts.values()) == kept_total(shapes, sparsity)


@given(shapes=SHAPES, sparsity=SPARSITY)
def test_uniform_is_within_one_weight_of_the_common_density(shapes, sparsity):
    size = sum(math.prod(shape) for shape in shapes.values())
    density = Fraction(kept_total(shapes, sparsity), size)
    for name, count in allocation.uniform(shapes, sparsity).items():
        assert abs(count - density * math.prod(shapes[name])) < 1


@given(shapes=SHAPES, sparsity=SPARSITY)
def test_erk_has_one_eps_and_full_layers_are_those_above_it(shapes, sparsity):
    counts = allocation.erdos_renyi(shapes, sparsity)
    sizes = {name: math.prod(shape) for name, shape in shapes.items()}
    open_layers = [name for name in shapes if counts[name] < sizes[name]]
    if not open_layers:
        return
    # count = eps * sum(shape), rounded by less than one: each layer confines eps to an interval,
    # and a full layer only from below.
    low = max(Fraction(counts[name] - 1, sum(shapes[name])) for name in shapes)
    high = min(Fraction(counts[name] + 1, sum(shapes[name])) for name in open_layers)
    assert low < high


@given(
    st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=12), min_size=1, max_size=5),
    SPARSITY,
)
def test_global_counts_give_the_global_top(layers, sparsity):
    values = {f"layer{i}": np.array(layer, float) for i, layer in enumerate(layers)}
    counts = allocation.global_(values, sparsity)
    joined = np.concatenate(list(values.values()))
    kept = joined.size - round(sparsity * joined.size)
    masks = [prune_mask(values[name], counts[name]) for name in values]
    np.testing.assert_array_equal(np.concatenate(masks), prune_mask(joined, kept))


def test_the_largest_remainder_rounds_up():
    # 6 of 10 stay: shares 4.2 and 1.8.
    assert allocation.uniform({"a": (1, 7), "b": (1, 3)}, 0.4) == {"a": 4, "b": 2}


def test_ties_go_to_the_earlier_layer():
    assert allocation.uniform({"a": (1, 3), "b": (1, 3)}, 0.5) == {"a": 2, "b": 1}
    same = {"a": np.ones(3), "b": np.ones(3)}
    assert allocation.global_(same, 0.5) == {"a": 3, "b": 0}


def test_total_uses_pythons_round():
    # round(2.5) = 2 pruned of 5, so 3 stay; round(3.5) = 4 pruned of 7, so 3 stay.
    assert allocation.uniform({"a": (1, 5)}, 0.5) == {"a": 3}
    assert allocation.uniform({"a": (1, 7)}, 0.5) == {"a": 3}


@pytest.mark.parametrize("allocate", [allocation.uniform, allocation.erdos_renyi])
def test_arrays_stand_for_their_shapes(allocate):
    arrays = {name: np.zeros(shape) for name, shape in LENET.items()}
    assert allocate(arrays, 0.9) == allocate(LENET, 0.9)


def test_tensors_are_counted_like_arrays():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(3)
    arrays = {name: rng.integers(0, 9, shape).astype(np.float32) for name, shape in LENET.items()}
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    for allocate in (allocation.uniform, allocation.erdos_renyi, allocation.global_):
        assert allocate(tensors, 0.9) == allocate(arrays, 0.9)


@pytest.mark.parametrize("allocate", [allocation.uniform, allocation.erdos_renyi])
def test_nothing_and_empty_layers(allocate):
    assert allocate({}, 0.5) == {}
    assert allocate({"empty": (0, 4)}, 0.5) == {"empty": 0}
    assert allocate({"empty": (0, 4), "a": (2, 4)}, 0.5) == {"empty": 0, "a": 4}


def test_global_of_nothing():
    assert allocation.global_({}, 0.5) == {}
    assert allocation.global_({"empty": np.zeros((0, 2)), "a": np.ones(2)}, 0.5) == {
        "empty": 0,
        "a": 1,
    }


@pytest.mark.parametrize("sparsity", [-0.1, 1.0, 1.5, math.nan])
@pytest.mark.parametrize(
    "allocate", [allocation.uniform, allocation.erdos_renyi, allocation.global_]
)
def test_sparsity_out_of_range(allocate, sparsity):
    with pytest.raises(ValueError, match=r"sparsity is .*, expected a fraction in \[0, 1\)"):
        allocate({"a": np.ones((2, 2))}, sparsity)


def test_erdos_renyi_refuses_vectors():
    with pytest.raises(ValueError, match=r"shapes\['bias'\] is \(10,\)"):
        allocation.erdos_renyi({"bias": (10,)}, 0.5)


def test_global_refuses_nan_and_says_where():
    with pytest.raises(ValueError, match=r"scores\['b'\] has 1 NaN among 2"):
        allocation.global_({"a": np.ones(2), "b": np.array([1.0, np.nan])}, 0.5)
