"""Lookahead: the distortion of a product, convolutions that are flattened, BatchNorm's factors."""

from __future__ import annotations

import numpy as np
import pytest

from sparsecore.pruning import scores


def chain(*shapes, seed=0):
    rng = np.random.default_rng(seed)
    return {f"layer{i}": rng.standard_normal(shape) for i, shape in enumerate(shapes)}


def test_lookahead_is_the_distortion_of_three_layers():
    weights = chain((4, 3), (2, 4), (5, 2))
    a, b, c = weights.values()
    expected = np.empty_like(b)
    for place in np.ndindex(b.shape):
        without = b.copy()
        without[place] = 0
        expected[place] = np.linalg.norm(c @ b @ a - c @ without @ a) ** 2
    found = scores.lookahead(weights)
    np.testing.assert_allclose(found["layer1"], expected, rtol=1e-12)
    np.testing.assert_allclose(found["layer0"], a**2 * (b**2).sum(0)[:, None], rtol=1e-12)
    np.testing.assert_allclose(found["layer2"], c**2 * (b**2).sum(1)[None], rtol=1e-12)


def by_loops(conv, full, factors=None):
    """Score two convolutions and the linear layer behind a flatten of 2 x 2, place by place."""
    first, second = conv
    f = [np.ones(len(w)) for w in (*conv, full)] if factors is None else factors
    scored = [np.empty_like(w) for w in (first, second, full)]
    for o, i, y, x in np.ndindex(first.shape):
        after = sum(second[p, o, v, u] ** 2 for p, v, u in np.ndindex(5, 2, 2))
        scored[0][o, i, y, x] = first[o, i, y, x] ** 2 * after * f[0][o] ** 2
    for o, i, y, x in np.ndindex(second.shape):
        before = (first[i] ** 2).sum() * f[0][i] ** 2
        after = sum(full[p, 4 * o + q] ** 2 for p in range(len(full)) for q in range(4))
        scored[1][o, i, y, x] = second[o, i, y, x] ** 2 * before * after * f[1][o] ** 2
    for o, i in np.ndindex(full.shape):
        channel = i // 4
        before = (second[channel] ** 2).sum() * f[1][channel] ** 2
        scored[2][o, i] = full[o, i] ** 2 * before * f[2][o] ** 2
    return scored


@pytest.mark.parametrize("with_factors", [False, True])
def test_flattened_channels_are_blocks_of_inputs(with_factors):
    weights = chain((3, 2, 3, 3), (5, 3, 2, 2), (4, 20))
    first, second, full = weights.values()
    # Of three channels, five and four, so that no count stands in for another; one is negative.
    factors = [np.array([0.5, -2.0, 3.0]), np.array([1.0, 0.25, -4.0, 2.0, 0.1]), np.arange(4.0)]
    by_name = dict(zip(weights, factors, strict=True)) if with_factors else None
    found = scores.lookahead(weights, factors=by_name)
    expected = by_loops([first, second], full, factors if with_factors else None)
    for score, wanted in zip(found.values(), expected, strict=True):
        np.testing.assert_allclose(score, wanted, rtol=1e-12)


def test_tensors_come_back_as_tensors():
    torch = pytest.importorskip("torch")
    arrays = chain((4, 2, 3, 3), (6, 16))
    weights = {name: torch.nn.Parameter(torch.from_numpy(w)) for name, w in arrays.items()}
    last = weights["layer0"].detach().to(memory_format=torch.channels_last)
    weights["layer0"] = last
    found, expected = scores.lookahead(weights), scores.lookahead(arrays)
    for name, score in found.items():
        assert score.dtype == torch.float64
        np.testing.assert_allclose(score.numpy(), expected[name], rtol=1e-12)


def test_one_layer_alone_is_squares():
    weights = chain((4, 3))
    np.testing.assert_array_equal(scores.lookahead(weights)["layer0"], weights["layer0"] ** 2)
    assert scores.lookahead({}) == {}


@pytest.mark.parametrize(
    "shapes",
    [
        ((4, 3), (2, 8)),  # two inputs for each output, but nothing was flattened
        ((4, 3, 3, 3), (2, 9)),  # no whole number of inputs
        ((8, 3, 3, 3), (8, 1, 3, 3)),  # depthwise
    ],
)
def test_what_is_no_chain_is_refused(shapes):
    with pytest.raises(ValueError, match=r"lookahead: 'layer1' of shape .* takes \d inputs"):
        scores.lookahead(chain(*shapes))


def test_bad_factors_and_vectors_are_refused():
    weights = chain((4, 3), (2, 4))
    with pytest.raises(ValueError, match=r"'layer0' have shape \(2,\), expected \(4,\)"):
        scores.lookahead(weights, factors={"layer0": np.ones(2)})
    with pytest.raises(ValueError, match=r"'norm' have shape \(4,\), expected one of the weights"):
        scores.lookahead(weights, factors={"norm": np.ones(4)})
    with pytest.raises(TypeError, match="factors is list, expected a mapping"):
        scores.lookahead(weights, factors=[np.ones(4)])
    with pytest.raises(ValueError, match=r"bias has shape \(4,\), expected \(out, in\)"):
        scores.lookahead({"bias": np.ones(4)})
    with pytest.raises(TypeError, match="lookahead: weights is ndarray"):
        scores.lookahead(np.ones((2, 2)))
