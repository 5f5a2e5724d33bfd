"""Arguments of the pure pruning functions that are refused, each by its name."""

from __future__ import annotations

import functools
import math

import numpy as np
import pytest

from sparsecore.pruning import (
    NM,
    Block,
    Cubic,
    Iterative,
    Rewind,
    Unstructured,
    allocation,
    flops,
    prune_mask,
    scores,
    scratch_epochs,
)

ONES = np.ones((2, 2))
random = functools.partial(scores.random, generator=np.random.default_rng(0))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: NM(2.0, 4), "NM: n is 2.0, a float, expected an integer"),
        (lambda: NM(2, "4"), "NM: m is '4', a str"),
        (lambda: NM(2, 4, axis=None), "NM: axis is None"),
        (lambda: Unstructured("rows"), "Unstructured: axis is 'rows', a str, expected .* or None"),
        (lambda: Block(2.5, 2), "Block: r is 2.5"),
        (lambda: Cubic(0, 3, 1.5), "Cubic: every is 1.5"),
        (lambda: Cubic(0, 3, 1, initial="a"), "initial is 'a', a str, expected a fraction"),
        (lambda: Iterative("3"), "Iterative: rounds is '3'"),
        (lambda: Iterative(3, every=1.5), "Iterative: every is 1.5, a float, .* or None"),
        (lambda: Rewind(1.5), "Rewind: step is 1.5"),
        (lambda: prune_mask(ONES, 2, NM), "pattern is .*NM.*, expected a value such as"),
        (lambda: prune_mask(np.array(["x"]), 1), "scores has dtype <U1, expected a real dtype"),
        (lambda: prune_mask(np.ma.array([1.0]), 1), "scores is MaskedArray, expected a numpy"),
        (
            lambda: scratch_epochs(9, dense_flops=2, pruned_flops=1, limit=1.5),
            "scratch_epochs: limit is 1.5",
        ),
        (lambda: flops.layer((3, 4), positions=1.5), "flops.layer: positions is 1.5, a float"),
        (lambda: flops.sparse({"a": 80}, {"a": 1.5}, {"a": (5, 8)}), r"kept\['a'\] is 1.5"),
        (lambda: flops.gradual(lambda _: 1, Cubic(0, 2, 1), final="a", steps=3), "final is 'a'"),
    ],
)
def test_values_of_another_type(make, message):
    with pytest.raises(TypeError, match=message):
        make()


@pytest.mark.parametrize("allocate", [allocation.uniform, allocation.erdos_renyi])
@pytest.mark.parametrize(
    ("shapes", "sparsity", "error", "message"),
    [
        ([(3, 4)], 0.5, TypeError, "shapes is list, expected a mapping"),
        ({"a": 5}, 0.5, TypeError, r"shapes\['a'\] is 5, a int, expected a shape or an array"),
        ({"a": (2.5, 4)}, 0.5, TypeError, r"shapes\['a'\] is 2.5, a float"),
        ({"a": (-3, 4)}, 0.5, ValueError, r"shapes\['a'\] is \(-3, 4\), expected lengths"),
        ({"a": (3, 4)}, "0.5", TypeError, "sparsity is '0.5', a str, expected a fraction"),
        ({"a": (3, 4)}, [0.5], TypeError, r"sparsity is \[0.5\], a list"),
    ],
)
def test_shapes_and_sparsities(allocate, shapes, sparsity, error, message):
    with pytest.raises(error, match=message):
        allocate(shapes, sparsity)


@pytest.mark.parametrize(
    ("score", "weight"),
    [
        (scores.magnitude, [1.0]),
        (scores.magnitude, np.array(["x"])),
        (random, [1.0]),
        (scores.lamp, np.array([1j])),
        (scores.lookahead, np.ma.array(ONES)),
        (functools.partial(scores.wanda, norms={}), [[1.0]]),
    ],
)
def test_weights_that_are_no_arrays_of_numbers(score, weight):
    with pytest.raises(TypeError, match=r"w'?\]? ?(is|, a)|fit w"):
        score({"w": weight})


@pytest.mark.parametrize("odd", [math.nan, math.inf])
def test_lamp_of_numbers_that_are_not_finite(odd):
    with pytest.raises(ValueError, match=r"lamp: weights\['w'\] has NaN or infinity"):
        scores.lamp({"w": np.array([1.0, odd])})


def test_arrays_and_tensors_do_not_mix():
    torch = pytest.importorskip("torch")
    with pytest.raises(TypeError, match=r"global_: scores are .*expected arrays alone or tensors"):
        allocation.global_({"a": np.ones(3), "b": torch.ones(3)}, 0.5)
    with pytest.raises(TypeError, match="wanda: 'w' is a ndarray, its norms a Tensor"):
        scores.wanda({"w": ONES}, norms={"w": torch.ones(2)})
    with pytest.raises(TypeError, match=r"lamp: weights\['w'\] is a tensor of .*meta"):
        scores.lamp({"w": torch.ones(2, device="meta")})


def test_scores_of_every_real_dtype_of_torch_are_ranked():
    torch = pytest.importorskip("torch")
    for dtype in (torch.bool, torch.uint16, torch.uint32, torch.float8_e4m3fn, torch.float8_e5m2):
        given = torch.tensor([0.0, 1.0, 0.0, 1.0]).to(dtype)
        assert prune_mask(given, 3).tolist() == [True, True, False, True], dtype


def test_an_array_without_axes_has_scores_that_are_one():
    for score in (scores.magnitude, random, scores.lamp):
        assert prune_mask(score({"w": np.array(-3.0)})["w"], 1).tolist() is True
