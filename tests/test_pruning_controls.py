"""Controls: shuffled masks, fresh weights under old masks, epochs from scratch."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sparsecore.pruning import ScratchEpochs, scratch_epochs, shuffle_layerwise

MASKS = hnp.arrays(bool, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=6))


@given(MASKS, st.integers(0, 2**32))
def test_counts_and_shapes_stay(mask, seed):
    before = mask.copy()
    shuffled = shuffle_layerwise(mask, generator=np.random.default_rng(seed))
    assert shuffled.shape == mask.shape
    assert shuffled.dtype == bool
    assert shuffled.sum() == mask.sum()
    np.testing.assert_array_equal(mask, before)


def test_every_placement_is_as_likely():
    generator, counts = np.random.default_rng(0), {}
    mask = np.array([[True, True], [False, False]])
    for _ in range(6000):
        key = tuple(shuffle_layerwise(mask, generator=generator).ravel().tolist())
        counts[key] = counts.get(key, 0) + 1
    # Six placements, 1000 each in the mean; a deviation of 5 sigma has a chance of 1e-6.
    assert len(counts) == 6
    assert max(abs(n - 1000) for n in counts.values()) < 5 * (6000 * 1 / 6 * 5 / 6) ** 0.5


def test_layers_are_shuffled_each_by_itself():
    masks = {"a": np.arange(40) < 10, "b": np.arange(40) < 10}
    shuffled = shuffle_layerwise(masks, generator=np.random.default_rng(0))
    assert {name: int(mask.sum()) for name, mask in shuffled.items()} == {"a": 10, "b": 10}
    assert (shuffled["a"] != shuffled["b"]).any()
    assert (shuffled["a"] != masks["a"]).any()


def test_tensors_by_a_generator_of_torchs():
    torch = pytest.importorskip("torch")
    masks = {"a": torch.arange(60).reshape(3, 4, 5) < 20}
    first, second = (
        shuffle_layerwise(masks, generator=torch.Generator().manual_seed(3))["a"] for _ in "12"
    )
    assert torch.equal(first, second)
    assert first.shape == (3, 4, 5)
    assert int(first.sum()) == 20
    assert not torch.equal(first, masks["a"])
    with pytest.raises(TypeError, match=r"generator is numpy.*, which does not fit masks\['a'\]"):
        shuffle_layerwise(masks, generator=np.random.default_rng(0))


def test_what_is_no_mask_is_refused():
    generator = np.random.default_rng(0)
    with pytest.raises(TypeError, match="masks is float64, expected an array or tensor of bool"):
        shuffle_layerwise(np.ones(3), generator=generator)
    with pytest.raises(TypeError, match=r"masks\['a'\] is list, expected"):
        shuffle_layerwise({"a": [True]}, generator=generator)
    with pytest.raises(TypeError, match=r"generator is builtins\.int"):
        shuffle_layerwise(np.ones(3, bool), generator=0)


def test_scratch_budgets():
    # Twice the epochs for half of the FLOPs, and rounded down: 160 * 313.5 / 206.3 = 243.1.
    assert scratch_epochs(90, dense_flops=100, pruned_flops=50) == ScratchEpochs(90, 180)
    assert scratch_epochs(160, dense_flops=3135, pruned_flops=2063) == ScratchEpochs(160, 243)
    assert scratch_epochs(90, dense_flops=100, pruned_flops=10).b == 180
    assert scratch_epochs(90, dense_flops=100, pruned_flops=10, limit=None).b == 900
    assert scratch_epochs(90, dense_flops=7, pruned_flops=7) == ScratchEpochs(90, 90)


@given(st.integers(1, 500), st.integers(1, 10**12), st.integers(1, 10**12))
def test_scratch_b_is_the_largest_whole_number_within_the_budget(epochs, one, two):
    dense, pruned = max(one, two), min(one, two)
    b = scratch_epochs(epochs, dense_flops=dense, pruned_flops=pruned, limit=None).b
    assert b * pruned <= epochs * dense < (b + 1) * pruned


@pytest.mark.parametrize("arguments", [(0, 2, 1, 2), (1, 1, 2, 2), (1, 1, 0, 2), (1, 2, 1, 0)])
def test_budgets_without_meaning(arguments):
    epochs, dense, pruned, limit = arguments
    with pytest.raises(ValueError, match="expected epochs >= 1, 0 < pruned_flops"):
        scratch_epochs(epochs, dense_flops=dense, pruned_flops=pruned, limit=limit)
