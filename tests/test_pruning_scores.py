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


def test_magnitude_of_complex_tensors_is_that_of_numpy():
    torch = pytest.importorskip("torch")
    weight = np.array([3 + 4j, -2])
    score = scores.magnitude({"w": torch.from_numpy(weight)})["w"]
    np.testing.assert_array_equal(score.numpy(), scores.magnitude({"w": weight})["w"])
    np.testing.assert_array_equal(score.numpy(), [5.0, 2.0])


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


# ---- LAMP ----


def lamp_by_definition(weight):
    """Equation 4 of the paper: over the entries that come no earlier in rising order."""
    flat = weight.reshape(-1).astype(float)
    # Of equal magnitudes, the one with the lower index is kept longer.
    rising = sorted(range(len(flat)), key=lambda i: (abs(flat[i]), -i))
    score = np.empty(len(flat))
    for place, i in enumerate(rising):
        rest = sum(flat[j] ** 2 for j in rising[place:])
        score[i] = flat[i] ** 2 / rest if rest else 0.0
    return score.reshape(weight.shape)


def test_lamp_of_one_to_four():
    score = scores.lamp({"w": np.array([[1.0, -2.0], [3.0, 4.0]], np.float32)})["w"]
    assert score.dtype == np.float64
    expected = [[1 / 30, 4 / 29], [9 / 25, 1.0]]
    np.testing.assert_allclose(score, expected, rtol=1e-14)


def test_lamp_is_its_definition_and_has_no_scale():
    weight = np.random.default_rng(0).integers(-4, 5, (7, 5)).astype(float)
    expected = lamp_by_definition(weight)
    for scale in (1.0, 1e-200, 1e200):
        np.testing.assert_allclose(scores.lamp({"w": weight * scale})["w"], expected, rtol=1e-12)
    torch = pytest.importorskip("torch")
    tensor = torch.nn.Parameter(torch.from_numpy(weight).bfloat16())
    found = scores.lamp({"w": tensor})["w"]
    assert found.dtype == torch.float64
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12)


def test_lamp_keeps_some_of_every_layer_and_nothing_of_zeros():
    weights = {"large": np.arange(1.0, 9), "small": np.arange(1.0, 4) / 1e6, "zero": np.zeros(3)}
    counts = allocation.global_(scores.lamp(weights), 1 - 2 / 14)
    assert counts == {"large": 1, "small": 1, "zero": 0}
