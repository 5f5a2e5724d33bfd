"""Patterns along an axis: rows that keep the same share, and N:M along any axis."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sparsecore.pruning import NM, Unstructured, prune_mask

SCORES = hnp.arrays(
    np.float64,
    hnp.array_shapes(min_dims=1, max_dims=4, max_side=6),
    elements=st.sampled_from([-np.inf, -1.0, -0.0, 0.0, 0.5, 1.0]),
)


@given(SCORES, st.data())
def test_every_slice_keeps_its_best_and_the_first_one_more(scores, data):
    axis = data.draw(st.integers(-scores.ndim, scores.ndim - 1))
    kept = data.draw(st.integers(0, scores.size))
    mask = prune_mask(scores, kept, Unstructured(axis=axis))
    assert mask.shape == scores.shape
    rows = np.moveaxis(scores, axis, 0).reshape(scores.shape[axis], -1)
    found = np.moveaxis(mask, axis, 0).reshape(rows.shape)
    share, more = divmod(kept, len(rows))
    for i, (row, chosen) in enumerate(zip(rows, found, strict=True)):
        order = sorted(range(len(row)), key=lambda j: (-row[j], j))
        np.testing.assert_array_equal(np.flatnonzero(chosen), sorted(order[: share + (i < more)]))


@given(SCORES, st.data())
def test_nm_along_an_axis_is_nm_along_the_last_of_the_moved_array(scores, data):
    axis = data.draw(st.integers(-scores.ndim, scores.ndim - 1))
    moved = np.ascontiguousarray(np.moveaxis(scores, axis, -1))
    kept = NM(2, 4).fixed_count(moved.shape)
    assert NM(2, 4, axis).fixed_count(scores.shape) == kept
    expected = np.moveaxis(prune_mask(moved, kept, NM(2, 4)), -1, axis)
    np.testing.assert_array_equal(prune_mask(scores, kept, NM(2, 4, axis)), expected)


def test_convolutions_along_their_input_channels():
    scores = np.zeros((2, 4, 1, 3))
    scores[:, [1, 3]] = 1.0
    mask = prune_mask(scores, 12, NM(2, 4, axis=1))
    np.testing.assert_array_equal(mask, scores == 1)


@pytest.mark.parametrize("pattern", [Unstructured(axis=0), Unstructured(axis=-1), NM(2, 4, axis=1)])
def test_tensors_get_the_same_mask_as_arrays(pattern):
    torch = pytest.importorskip("torch")
    scores = np.random.default_rng(0).integers(0, 4, (5, 8, 3)).astype(np.float32)
    kept = pattern.round_count(scores.shape, 50)
    mask = prune_mask(torch.tensor(scores), kept, pattern)
    assert mask.is_contiguous()
    np.testing.assert_array_equal(mask.numpy(), prune_mask(scores, kept, pattern))


@pytest.mark.parametrize("pattern", [Unstructured(axis=2), Unstructured(axis=-3), NM(2, 4, axis=2)])
def test_axes_that_are_not_there(pattern):
    with pytest.raises(ValueError, match=r"scores of shape \(4, 4\) have no axis -?[23]"):
        prune_mask(np.zeros((4, 4)), 8, pattern)


def test_an_axis_is_an_integer():
    for make in (lambda: Unstructured(axis=0.5), lambda: NM(2, 4, axis="in")):
        with pytest.raises(TypeError):
            make()


def test_reprs_say_the_axis_only_where_there_is_one():
    assert repr(Unstructured()) == "Unstructured()"
    assert repr(Unstructured(axis=0)) == "Unstructured(axis=0)"
    assert repr(NM(2, 4)) == "NM(n=2, m=4)"
