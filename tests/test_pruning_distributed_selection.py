"""A selection over ranks is, bit by bit, that of one process which has all scores."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sparsecore.pruning import allocation
from sparsecore.pruning._arrays import top_of_rows
from sparsecore.pruning.distributed_selection import global_masks, selection_traffic
from sparsecore.pruning.radix_selection import kth_largest, ordered_keys

torch = pytest.importorskip("torch")

import distributed_cases as cases  # noqa: E402

# ---- the keys ----


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_keys_have_the_order_of_the_floats(dtype):
    tiny, huge = np.finfo(dtype).smallest_subnormal, np.finfo(dtype).max
    values = [-np.inf, -huge, -1, -tiny, 0, tiny, 1, np.nextafter(dtype(1), dtype(2)), huge, np.inf]
    keys = ordered_keys(np.array(values, dtype)).tolist()
    assert keys == sorted(set(keys))
    assert ordered_keys(np.array([-0.0], dtype)) == ordered_keys(np.array([0.0], dtype))


FLOATS = st.sampled_from([np.float32, np.float64]).flatmap(
    lambda dtype: hnp.arrays(
        dtype, st.integers(1, 40), elements={"allow_nan": False, "allow_subnormal": True}
    )
)


@given(values=FLOATS, data=st.data())
def test_kth_largest_is_that_of_a_sorted_array(values, data):
    k = data.draw(st.integers(1, values.size))
    key, equals = kth_largest([ordered_keys(values)], k, np.copy)
    expected = np.sort(values)[-k]
    assert key == ordered_keys(np.array([expected], values.dtype))[0]
    assert equals == k - (values > expected).sum()


# ---- masks of all ranks ----


def cut(layers, ranks, rng):
    """Cut each layer into a block for each rank, of random sizes that are often 0."""
    blocks = [{} for _ in range(ranks)]
    for name, scores in layers.items():
        places = np.sort(rng.integers(0, len(scores) + 1, ranks - 1))
        for rank, block in enumerate(np.split(scores, places)):
            blocks[rank][name] = block
    return blocks


def assert_masks_are_those_of_one_process(ranks, layers, blocks, kept):
    whole = np.concatenate(list(layers.values()))
    expected = top_of_rows(whole[None], kept)[0]
    found = ranks.run(cases.masks, blocks, kept, size=len(blocks))
    of_layers = [np.concatenate([masks[name].ravel() for masks in found]) for name in layers]
    np.testing.assert_array_equal(np.concatenate(of_layers), expected)


@pytest.mark.parametrize("size", [1, 2, 4])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
@pytest.mark.parametrize("values", ["normal", "five values", "one value"])
def test_masks(ranks, size, dtype, values):
    rng = np.random.default_rng([size, len(values)])
    draw = {
        "normal": lambda n: rng.standard_normal(n),
        "five values": lambda n: rng.choice([-np.inf, -1.0, -0.0, 0.0, 2.0], n),
        "one value": lambda n: np.full(n, -0.5),
    }[values]
    layers = {name: draw(n).astype(dtype) for name, n in (("a", 70), ("b", 1), ("c", 33))}
    blocks = cut(layers, size, rng)
    for kept in (0, 1, 37, 52, 103, 104):
        assert_masks_are_those_of_one_process(ranks, layers, blocks, kept)


def test_ties_over_ranks_keep_the_lowest_index_of_the_layer_first(ranks):
    blocks = [{"a": np.array([1.0, 0.0]), "b": np.array([1.0])}, {"a": np.ones(2), "b": np.ones(1)}]
    found = ranks.run(cases.masks, blocks, 4, size=2)
    # Rank 1's block of layer a comes before rank 0's of layer b.
    assert [m["a"].tolist() for m in found] == [[True, False], [True, True]]
    assert [m["b"].tolist() for m in found] == [[True], [False]]


def test_zeros_of_both_signs_are_equal(ranks):
    blocks = [{"a": np.array([-0.0, -1.0])}, {"a": np.array([0.0, -0.0])}]
    found = ranks.run(cases.masks, blocks, 2, size=2)
    assert [m["a"].tolist() for m in found] == [[True, False], [True, False]]


def test_blocks_keep_their_shape_and_mix_dtypes(ranks):
    a, b = torch.arange(6, dtype=torch.bfloat16).reshape(2, 3), torch.tensor(3.5)
    for masks in ranks.run(cases.masks, [{"a": a, "b": b.double()}], 3, size=1):
        assert masks["a"].tolist() == [[False, False, False], [False, True, True]]
        assert masks["b"].tolist() is True


def test_many_scores_count_in_chunks(ranks):
    layers = {"a": np.random.default_rng(0).standard_normal(700_001).astype(np.float32)}
    blocks = [{"a": layers["a"][:100]}, {"a": layers["a"][100:]}]
    assert_masks_are_those_of_one_process(ranks, layers, blocks, 70_000)


# ---- counts, and what is exchanged ----


@pytest.mark.parametrize("sparsity", [0.0, 0.37, 0.9, 0.999])
def test_counts_are_those_of_allocation_global(ranks, sparsity):
    rng = np.random.default_rng(3)
    layers = {"a": rng.standard_normal(50), "none": np.empty(0), "b": rng.integers(0, 3, 81) / 2}
    blocks = cut(layers, 4, rng)
    expected = allocation.global_(layers, sparsity)
    assert ranks.run(cases.counts, blocks, [sparsity] * 4) == [expected] * 4
    assert ranks.run(cases.counts, [{}] * 4, [sparsity] * 4) == [{}] * 4


@pytest.mark.parametrize(("dtype", "itemsize"), [("f4", 4), ("f8", 8), ("f2", 4)])
def test_traffic_is_what_is_exchanged(ranks, dtype, itemsize):
    block = {"a": np.arange(1000).astype(dtype), "b": np.ones(3, dtype)}
    expected = selection_traffic(itemsize, layers=2)
    for seen in ranks.run(cases.exchanged, [block, block], 500, size=2):
        assert sum(seen["all_reduce"]) == expected.all_reduced
        assert len(seen["all_reduce"]) == expected.passes + 1  # and the sizes of the layers
        agreement, ties = seen["all_gather"]
        assert (agreement, ties) == (40, expected.all_gathered)


# ---- what is refused, on every rank ----


@pytest.mark.parametrize(
    ("block", "error", "message"),
    [
        ({"a": np.array([1.0, np.nan])}, ValueError, "scores['a'] has 1 NaN among 2 entries"),
        ({"a": np.ones(2, np.int64)}, TypeError, "scores['a'] has dtype int64, expected one of"),
        ({"a": np.ones(2, np.longdouble)}, TypeError, "scores['a'] has dtype"),
        ({"a": [1.0]}, TypeError, "scores['a'] is list"),
        ([1.0], TypeError, "scores is list, expected a mapping"),
        ({"b": np.ones(2)}, ValueError, "rank 2 has another names of layers than rank 0"),
        ({}, ValueError, "rank 2 has another number of layers than rank 0"),
        ({"a": np.ones(2, np.float32)}, ValueError, "rank 2 has another dtype than rank 0"),
    ],
)
def test_one_rank_with_bad_scores(ranks, block, error, message):
    good = {"a": np.ones(3)}
    for answer in ranks.run(cases.masks, [good, good, block, good], 2):
        assert type(answer) is error
        assert message in str(answer)


@pytest.mark.parametrize(
    ("kept", "error"), [(-1, ValueError), (9, ValueError), (10**400, ValueError), (1.0, TypeError)]
)
def test_kept_that_cannot_be(ranks, kept, error):
    for answer in ranks.run(cases.masks, [{"a": np.ones(2)}] * 4, kept):
        assert type(answer) is error
        assert "kept is" in str(answer)


def test_sparsities(ranks):
    blocks = [{"a": np.ones(2)}] * 4
    for answer in ranks.run(cases.counts, blocks, [0.5, 0.5, 0.5, 1.0]):
        assert type(answer) is ValueError
        assert "sparsity is 1.0, expected a fraction in [0, 1)" in str(answer)
    for answer in ranks.run(cases.counts, blocks, [0.5, 0.5, 0.5, 0.25]):
        assert "rank 3 has another sparsity" in str(answer)


def test_without_a_process_group():
    with pytest.raises(RuntimeError, match="global_masks: no process group"):
        global_masks({"a": np.ones(2)}, 1)
