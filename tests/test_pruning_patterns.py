"""Patterns and prune_mask against a sort, the golden masks, and the rule of 2:4."""

from __future__ import annotations

import subprocess
import sys

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from golden import golden
from sparsecore.pruning import NM, Unstructured, prune_mask

# Few distinct values, so that nearly every example has ties; signed zeros and infinities too.
TIED = st.sampled_from([-np.inf, -1.0, -0.0, 0.0, 0.5, 1.0, np.inf])
SCORES = hnp.arrays(np.float64, hnp.array_shapes(min_dims=1, max_dims=4, max_side=9), elements=TIED)


def best_by_sorting(flat, kept):
    order = sorted(range(len(flat)), key=lambda i: (-flat[i], i))
    mask = np.zeros(len(flat), bool)
    mask[order[:kept]] = True
    return mask


def best_of_groups(scores, n, m):
    rows = scores.reshape(-1, scores.shape[-1])
    mask = np.zeros(rows.shape, bool)
    for row, kept in zip(rows, mask, strict=True):
        for start in range(0, len(row), m):
            group = row[start : start + m]
            kept[start : start + m] = best_by_sorting(group, min(n, len(group)))
    return mask.reshape(scores.shape)


@given(SCORES, st.data())
def test_unstructured_keeps_exactly_the_best_and_the_lowest_index(scores, data):
    kept = data.draw(st.integers(0, scores.size))
    mask = prune_mask(scores, kept)
    assert mask.dtype == bool
    assert mask.shape == scores.shape
    np.testing.assert_array_equal(mask.ravel(), best_by_sorting(scores.ravel(), kept))


@given(SCORES, st.data())
def test_nm_keeps_exactly_the_best_of_each_group(scores, data):
    m = data.draw(st.integers(2, 6))
    pattern = NM(data.draw(st.integers(1, m - 1)), m)
    expected = best_of_groups(scores, pattern.n, pattern.m)
    kept = pattern.fixed_count(scores.shape)
    assert kept == expected.sum()
    np.testing.assert_array_equal(prune_mask(scores, kept, pattern), expected)


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16"])
@pytest.mark.parametrize("pattern", [Unstructured(), NM(2, 4), NM(1, 3)])
def test_tensors_get_the_same_mask_as_arrays(dtype, pattern):
    torch = pytest.importorskip("torch")
    scores = np.random.default_rng(0).integers(0, 5, (7, 13)).astype(np.float64)
    kept = pattern.fixed_count(scores.shape) or 40
    mask = prune_mask(torch.tensor(scores, dtype=getattr(torch, dtype)), kept, pattern)
    assert mask.dtype == torch.bool
    np.testing.assert_array_equal(mask.numpy(), prune_mask(scores, kept, pattern))


@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16, np.int8, np.int64])
def test_every_real_dtype_of_numpy(dtype):
    scores = np.array([[3, 1, 2, 3, 1], [0, 2, 2, 2, 5]])
    np.testing.assert_array_equal(
        prune_mask(scores.astype(dtype), 5), best_by_sorting(scores.ravel(), 5).reshape(2, 5)
    )


def test_strided_scores_and_a_scalar():
    scores = np.arange(24.0).reshape(4, 6)[::-2, ::2].T
    expected = best_by_sorting(scores.ravel(), 2).reshape(scores.shape)
    np.testing.assert_array_equal(prune_mask(scores, 2), expected)
    assert prune_mask(np.array(3.0), 1).shape == ()


@pytest.mark.parametrize("shape", [(0,), (0, 4), (3, 0), (0, 5)])
@pytest.mark.parametrize("pattern", [Unstructured(), NM(2, 4)])
def test_empty_scores_give_empty_masks(shape, pattern):
    assert prune_mask(np.zeros(shape), 0, pattern).shape == shape


@pytest.mark.parametrize("shape", [(0,), (0, 4), (3, 0), (0, 5)])
@pytest.mark.parametrize("pattern", [Unstructured(), NM(2, 4)])
def test_empty_tensors_give_empty_masks(shape, pattern):
    torch = pytest.importorskip("torch")
    assert prune_mask(torch.zeros(shape), 0, pattern).shape == shape


def test_scores_that_require_grad_are_accepted():
    torch = pytest.importorskip("torch")
    mask = prune_mask(torch.tensor([1.0, 2.0], requires_grad=True), 1)
    assert mask.tolist() == [False, True]


def test_the_scores_are_not_edited():
    scores = np.array([2.0, 3.0, 1.0, 0.0])
    scores.setflags(write=False)
    prune_mask(scores, 2)
    prune_mask(scores, 2, NM(2, 4))


@pytest.mark.parametrize("name", ["SCORE_1", "SCORE_2", "SCORE_4", "SCORE_5"])
def test_golden_unstructured(name):
    entry = golden(f"jaxpruner.unstructured.{name}")
    scores = np.array(entry["input"]["score"])
    kept = scores.size - round(entry["input"]["sparsity"] * scores.size)
    np.testing.assert_array_equal(prune_mask(scores, kept), entry["expected"])


def test_golden_nm24():
    entry = golden("jaxpruner.nm24.SCORE_1")
    scores = np.array(entry["input"]["score"])
    pattern = NM(entry["input"]["n"], entry["input"]["m"])
    # The one tie, 0.13 0.13, lies among what is pruned: no tie rule shows here.
    mask = prune_mask(scores, scores.size // 2, pattern)
    np.testing.assert_array_equal(mask, entry["expected"])


def test_golden_nm24_ties_follow_our_rule():
    entry = golden("jaxpruner.nm24.ties")
    scores = np.array(entry["input"]["score"], float)
    mask = prune_mask(scores, 4, NM(entry["input"]["n"], entry["input"]["m"]))
    # The source keeps the last of equals; here ties keep the lowest index in every pattern.
    np.testing.assert_array_equal(mask, [1, 1, 0, 0, 1, 1, 0, 0])
    assert entry["expected"] == [0, 0, 1, 1, 0, 0, 1, 1]


def test_golden_nm_error():
    entry = golden("jaxpruner.nm.error")
    assert entry["expected"] == "ValueError"
    with pytest.raises(ValueError, match=r"NM\(4, 2\).*expected 1 <= n < m"):
        NM(entry["input"]["n"], entry["input"]["m"])


@pytest.mark.parametrize(("n", "m"), [(0, 4), (4, 4), (5, 4), (-1, 4)])
def test_nm_refuses_groups_without_meaning(n, m):
    with pytest.raises(ValueError, match="expected 1 <= n < m"):
        NM(n, m)


def test_nm_refuses_fractions():
    with pytest.raises(TypeError):
        NM(2.0, 4)


@pytest.mark.parametrize("kept", [3, 5, 0, 8])
def test_nm_refuses_another_count_than_its_own(kept):
    with pytest.raises(ValueError, match=rf"kept is {kept}, but NM\(n=2, m=4\) keeps exactly 4"):
        prune_mask(np.arange(8.0), kept, NM(2, 4))


def test_nm_needs_an_axis():
    with pytest.raises(ValueError, match="no axis"):
        prune_mask(np.array(1.0), 1, NM(2, 4))


@pytest.mark.parametrize("kept", [-1, 5])
def test_kept_out_of_range(kept):
    with pytest.raises(ValueError, match=f"kept is {kept}, expected 0 to 4"):
        prune_mask(np.zeros((2, 2)), kept)


def test_nan_scores_have_no_rank():
    with pytest.raises(ValueError, match="prune_mask: scores has 2 NaN among 4"):
        prune_mask(np.array([1.0, np.nan, 2.0, np.nan]), 2)


def test_nan_in_tensors_has_no_rank():
    torch = pytest.importorskip("torch")
    with pytest.raises(ValueError, match="prune_mask: scores has 1 NaN among 4"):
        prune_mask(torch.tensor([1.0, torch.nan, 2.0, 0.0]), 2, NM(2, 4))


def test_scores_of_the_wrong_type():
    with pytest.raises(TypeError, match="scores is list"):
        prune_mask([1.0, 2.0], 1)
    with pytest.raises(TypeError, match="complex128"):
        prune_mask(np.zeros(2, complex), 1)
    with pytest.raises(TypeError, match=r"prune_mask: kept is 0\.5, a float, expected an integer"):
        prune_mask(np.zeros(2), 0.5)


def test_the_pure_functions_do_not_import_torch():
    program = (
        "import sys, numpy as np; from sparsecore import pruning as p\n"
        "p.prune_mask(p.scores.magnitude({'w': np.ones(4)})['w'], 2, p.NM(2, 4))\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
