"""Scores: formulas, kinds of array, randomness only through the generator."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from golden import golden
from sparsecore.pruning import allocation, prune_mask, scores


def test_magnitude_is_abs():
    score = scores.magnitude({"w": np.array([[-2.0, 0.5], [-0.0, 3.0]], np.float32)})["w"]
    np.testing.assert_array_equal(score, [[2.0, 0.5], [0.0, 3.0]])
    assert score.dtype == np.float32


def test_magnitude_of_bfloat16_keeps_the_dtype():
    score = scores.magnitude({"w": np.array([-1.5, 1.0], ml_dtypes.bfloat16)})["w"]
    assert score.dtype == ml_dtypes.bfloat16
    np.testing.assert_array_equal(score.astype(np.float32), [1.5, 1.0])


def test_magnitude_of_the_smallest_int8_is_the_largest():
    score = scores.magnitude({"w": np.array([-128, 127], np.int8)})["w"]
    np.testing.assert_array_equal(score, [128, 127])


def test_magnitude_of_tensors_carries_no_graph():
    torch = pytest.importorskip("torch")
    weight = torch.nn.Parameter(torch.tensor([-2.0, 1.0]))
    score = scores.magnitude({"w": weight})["w"]
    assert not score.requires_grad
    assert score.tolist() == [2.0, 1.0]
    smallest = torch.tensor([-128, 127], dtype=torch.int8)
    assert scores.magnitude({"w": smallest})["w"].tolist() == [128.0, 127.0]


def test_magnitude_golden_instant_sparsify():
    entry = golden("magnitude.instant_sparsify")
    weight = np.array(entry["input"]["weight"])
    kept = allocation.uniform({"w": weight}, entry["input"]["sparsity"])["w"]
    mask = prune_mask(scores.magnitude({"w": weight})["w"], kept)
    np.testing.assert_array_equal(np.where(mask, weight, 0), entry["expected"])


def test_random_is_the_generators_own_draw():
    weights = {"a": np.zeros((3, 4)), "b": np.zeros(5)}
    drawn = scores.random(weights, generator=np.random.default_rng(7))
    expected = np.random.default_rng(7)
    np.testing.assert_array_equal(drawn["a"], expected.random((3, 4)))
    np.testing.assert_array_equal(drawn["b"], expected.random(5))


def test_random_for_tensors():
    torch = pytest.importorskip("torch")
    weights = {"a": torch.zeros(3, 4)}
    one, again, other = (
        scores.random(weights, generator=torch.Generator().manual_seed(seed))["a"]
        for seed in (1, 1, 2)
    )
    assert one.shape == (3, 4)
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


def test_random_refuses_a_generator_of_the_other_kind():
    torch = pytest.importorskip("torch")
    with pytest.raises(TypeError, match=r"generator is torch.*fit w, a numpy.ndarray"):
        scores.random({"w": np.zeros(3)}, generator=torch.Generator())
    with pytest.raises(TypeError, match=r"generator is numpy.*fit w, a torch.Tensor"):
        scores.random({"w": torch.zeros(3)}, generator=np.random.default_rng(0))


def test_an_array_alone_is_refused_by_name():
    w = np.ones((2, 2))
    with pytest.raises(TypeError, match="magnitude: weights is ndarray, expected a mapping of"):
        scores.magnitude(w)
    with pytest.raises(TypeError, match="random: weights is ndarray, expected a mapping of"):
        scores.random(w, generator=np.random.default_rng(0))
