"""Blocks, filters and channels against the search of all subsets, and the golden masks."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from golden import golden
from sparsecore.pruning import Block, Channel, Filter, prune_mask

# Small integers, so that sums are exact and ties are common.
SMALL = hnp.arrays(
    np.float64,
    hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=5),
    elements=st.integers(0, 5).map(float),
)


def blocks_of(shape, r, c):
    """Return the mask of each block, in row-major order."""
    found = []
    for i, j in itertools.product(range(0, shape[0], r), range(0, shape[1], c)):
        mask = np.zeros(shape, bool)
        mask[i : i + r, j : j + c] = True
        found.append(mask)
    return found


def unions_by_count(shape, r, c):
    """Return all masks of whole blocks, by how many entries they have."""
    unions = {}
    blocks = blocks_of(shape, r, c)
    for size in range(len(blocks) + 1):
        for chosen in itertools.combinations(blocks, size):
            union = np.any(chosen, axis=0) if chosen else np.zeros(shape, bool)
            unions.setdefault(int(union.sum()), []).append(union)
    return unions


@settings(max_examples=40, deadline=None)
@given(SMALL, st.integers(2, 3), st.integers(2, 3), st.data())
def test_block_is_the_best_of_all_unions_of_blocks(scores, r, c, data):
    pattern, unions = Block(r, c), unions_by_count(scores.shape, r, c)
    kept = data.draw(st.integers(0, scores.size))
    below = max(count for count in unions if count <= kept)
    above = min(count for count in unions if count >= kept)
    assert pattern.nearest_counts(scores.shape, kept) == (below, above)
    nearest = above if above - kept <= kept - below else below
    assert pattern.round_count(scores.shape, kept) == nearest
    mask = prune_mask(scores, nearest, pattern)
    assert mask.dtype == bool
    assert any((mask == union).all() for union in unions[nearest])
    assert scores[mask].sum() == max(scores[union].sum() for union in unions[nearest])


def test_ties_keep_the_first_blocks_in_row_major_order():
    mask = prune_mask(np.ones((4, 4)), 8, Block(2, 2))
    np.testing.assert_array_equal(
        mask, np.repeat([True, False], 2)[:, None] & np.ones((1, 4), bool)
    )
    mask = prune_mask(np.ones((4, 2)), 4, Filter())
    np.testing.assert_array_equal(mask[:, 0], [True, True, False, False])
    mask = prune_mask(np.ones((2, 4)), 4, Channel())
    np.testing.assert_array_equal(mask[0], [True, True, False, False])


@given(
    hnp.arrays(
        np.float64,
        hnp.array_shapes(min_dims=2, max_dims=4, min_side=1, max_side=4),
        elements=st.integers(0, 5).map(float),
    ),
    st.sampled_from([0, 1]),
    st.data(),
)
def test_filters_and_channels_keep_the_largest_sums(scores, axis, data):
    pattern = [Filter(), Channel()][axis]
    slices = np.moveaxis(scores, axis, 0).reshape(scores.shape[axis], -1)
    count = data.draw(st.integers(0, len(slices)))
    mask = prune_mask(scores, count * slices.shape[1], pattern)
    best = sorted(range(len(slices)), key=lambda i: (-slices[i].sum(), i))[:count]
    expected = np.zeros(slices.shape, bool)
    expected[best] = True
    np.testing.assert_array_equal(np.moveaxis(mask, axis, 0).reshape(slices.shape), expected)


@pytest.mark.parametrize("pattern", [Block(2, 3), Block(3, 5), Filter(), Channel()])
@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16"])
def test_tensors_get_the_same_mask_as_arrays(pattern, dtype):
    torch = pytest.importorskip("torch")
    drawn = np.random.default_rng(0).standard_normal((6, 4, 3, 3))
    scores = torch.tensor(drawn, dtype=getattr(torch, dtype))
    kept = pattern.round_count(drawn.shape, 80)
    mask = prune_mask(scores, kept, pattern)
    assert mask.dtype == torch.bool
    assert int(mask.sum()) == kept
    np.testing.assert_array_equal(mask.numpy(), prune_mask(scores.double().numpy(), kept, pattern))


def test_infinite_scores_go_last_and_first():
    scores = np.array([[-np.inf, 9.0, 1.0, 1.0, np.inf, 0.0]])
    np.testing.assert_array_equal(prune_mask(scores, 4, Block(1, 2))[0], [0, 0, 1, 1, 1, 1])
    # One block of two, or two of one at the edge: -inf counts first, then inf.
    scores = np.array([[1.0, 1.0, np.inf], [0.0, 0.0, -np.inf]])
    np.testing.assert_array_equal(prune_mask(scores, 2, Block(1, 2)), [[1, 1, 0], [0, 0, 0]])
    with pytest.raises(ValueError, match="a block has both inf and -inf"):
        prune_mask(np.array([[np.inf, -np.inf]]), 0, Block(1, 2))


def test_spread_is_the_mean_of_the_group():
    scores = np.array([[1.0, 3.0, 5.0], [2.0, 4.0, 7.0]])
    spread = [[2.5, 2.5, 6.0], [2.5, 2.5, 6.0]]
    np.testing.assert_array_equal(Block(2, 2).spread(scores), spread)
    np.testing.assert_array_equal(Filter().spread(scores)[:, 0], [3.0, 13 / 3])
    np.testing.assert_array_equal(Channel().spread(scores)[0], [1.5, 3.5, 6.0])
    pruned = np.array([[-np.inf, -np.inf], [1.0, 2.0]])
    np.testing.assert_array_equal(Filter().spread(pruned), [[-np.inf] * 2, [1.5] * 2])


@pytest.mark.parametrize("name", ["channel.axis1", "channel.SCORE_5"])
def test_golden_channels(name):
    entry = golden(f"jaxpruner.{name}")
    scores, given_ = np.array(entry["input"]["score"]), entry["input"]
    assert given_["axis"] == 1
    kept = scores.size - round(given_["sparsity"] * scores.size)
    np.testing.assert_array_equal(prune_mask(scores, kept, Channel()), entry["expected"])


@pytest.mark.parametrize("name", ["block2x3.AVG", "block1x3.1d.AVG"])
def test_golden_blocks(name):
    entry = golden(f"jaxpruner.{name}")
    scores, given_ = np.array(entry["input"]["score"]), entry["input"]
    # The source ranks by the mean and counts blocks; at its count of entries the largest sum is
    # the same choice.
    kept = int(np.sum(entry["expected"]))
    mask = prune_mask(scores, kept, Block(*given_["block"]))
    np.testing.assert_array_equal(mask, entry["expected"])


def test_golden_blocks_by_their_maximum_are_another_rule():
    entry = golden("jaxpruner.block2x3.MAX")
    scores, expected = np.array(entry["input"]["score"]), np.array(entry["expected"], bool)
    mask = prune_mask(scores, int(expected.sum()), Block(2, 3))
    assert (mask != expected).any()
    assert scores[mask].sum() > scores[expected].sum()


@pytest.mark.parametrize("pattern", [Block(2, 2), Filter(), Channel()])
@pytest.mark.parametrize("shape", [(0, 4), (3, 0), (2, 0, 3)])
def test_empty_scores_give_empty_masks(pattern, shape):
    assert prune_mask(np.zeros(shape), 0, pattern).shape == shape


def test_counts_that_are_not_whole_groups_are_refused_with_the_nearest():
    with pytest.raises(ValueError, match=r"kept is 7, but Filter\(\) keeps .* are 6 and 12"):
        prune_mask(np.zeros((4, 6)), 7, Filter())
    with pytest.raises(ValueError, match="kept is 25, expected 0 to 24"):
        prune_mask(np.zeros((4, 6)), 25, Block(2, 2))
    assert Filter().round_count((4, 6), 9) == 12
    assert Filter().round_count((4, 6), 8) == 6


def test_groups_without_meaning_are_refused():
    with pytest.raises(ValueError, match=r"Block\(0, 2\): expected at least one row"):
        Block(0, 2)
    with pytest.raises(TypeError):
        Block(2.0, 2)
    with pytest.raises(ValueError, match=r"Channel\(\): scores of shape \(3,\) have no axis 1"):
        prune_mask(np.zeros(3), 0, Channel())


def test_a_large_matrix_is_a_matter_of_sorting():
    scores = np.random.default_rng(1).random((1023, 1021))
    pattern = Block(4, 8)
    kept = pattern.round_count(scores.shape, scores.size // 3)
    mask = prune_mask(scores, kept, pattern)
    assert int(mask.sum()) == kept
    assert abs(kept - scores.size // 3) <= math.prod((4, 8)) // 2
