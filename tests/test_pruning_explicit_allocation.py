"""Explicit allocations, and the uniform one with a dense first layer."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsecore.pruning.allocation import Explicit, uniform

SHAPES = {"a": (3, 5), "b": (5, 5), "c": (4,)}


def test_counts_and_densities():
    allocation = Explicit({"a": 7, "b": 0.5, "c": 1.0})
    counts = {"a": 7, "b": 12, "c": 4}  # round(12.5) is 12, to even
    assert allocation.counts(SHAPES) == counts
    assert allocation.sparsity(SHAPES) == 21 / 44
    assert allocation({name: np.zeros(shape) for name, shape in SHAPES.items()}, 21 / 44) == counts


@given(st.integers(0, 15), st.integers(0, 25), st.integers(0, 4), st.floats(0, 1))
def test_on_the_way_every_layer_has_lost_its_share(a, b, c, progress):
    allocation = Explicit({"a": a, "b": b, "c": c})
    final = allocation.sparsity(SHAPES)
    counts = allocation(SHAPES, progress * final)
    sizes = {"a": 15, "b": 25, "c": 4}
    lost = {name: sizes[name] - counts[name] for name in sizes}
    assert sum(lost.values()) == round(progress * final * 44)
    total = sum(lost.values())
    to_lose = {"a": 15 - a, "b": 25 - b, "c": 4 - c}
    for name, count in lost.items():
        assert abs(count - total * to_lose[name] / max(1, sum(to_lose.values()))) < 1
    assert allocation(SHAPES, final) == {"a": a, "b": b, "c": c}


def test_more_than_the_counts_is_refused():
    with pytest.raises(ValueError, match=r"sparsity is 0\.9, expected 0 to 0\.47727"):
        Explicit({"a": 7, "b": 12, "c": 4})(SHAPES, 0.9)


@pytest.mark.parametrize(
    ("kept", "error", "message"),
    [
        ({"a": 1.5}, ValueError, r"a is 1\.5, expected a density in \[0, 1\]"),
        ({"a": -1}, ValueError, "a is -1, expected a count of at least 0"),
        ({"a": True}, TypeError, "a is True, expected a count or a float density"),
        ({"a": "0.5"}, TypeError, "a is '0.5', expected a count or"),
    ],
)
def test_values_without_meaning(kept, error, message):
    with pytest.raises(error, match=message):
        Explicit(kept)


def test_names_and_sizes_must_fit():
    with pytest.raises(ValueError, match=r"missing \['b', 'c'\], unknown \['d'\]"):
        Explicit({"a": 1, "d": 2}).counts(SHAPES)
    with pytest.raises(ValueError, match="c is 5, but the layer has 4 weights"):
        Explicit({"a": 1, "b": 1, "c": 5}).counts(SHAPES)


def test_the_mapping_is_copied():
    given_ = {"a": 1}
    allocation = Explicit(given_)
    given_["a"] = 9
    assert allocation.kept == {"a": 1}
    with pytest.raises(TypeError):
        allocation.kept["a"] = 2
    assert copy.deepcopy(allocation) == pickle.loads(pickle.dumps(allocation)) == allocation


def test_uniform_with_a_dense_first_layer():
    assert uniform(SHAPES, 0.9, dense_first=True) == {"a": 15, "b": 3, "c": 0}
    assert uniform({}, 0.9, dense_first=True) == {}
    assert uniform({"a": (3, 5)}, 0.9, dense_first=True) == {"a": 15}
