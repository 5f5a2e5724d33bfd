"""Allocations: golden runs of other libraries, and published layer-wise figures."""

from __future__ import annotations

import math

import numpy as np
import pytest

from golden import golden, golden_file
from sparsecore.pruning import allocation, prune_mask, scores

LENET = {"fc1": (300, 784), "fc2": (100, 300), "fc3": (10, 100)}


def layer_sparsity(shapes, counts):
    return {name: 1 - counts[name] / math.prod(shape) for name, shape in shapes.items()}


# ---- golden values ----


def test_golden_global_magnitude():
    entry = golden("global_magnitude")
    weights = {name: np.array(w) for name, w in entry["input"]["scores"].items()}
    scored = scores.magnitude(weights)
    counts = allocation.global_(scored, entry["input"]["sparsity"])
    for name, expected in entry["expected"].items():
        np.testing.assert_array_equal(prune_mask(scored[name], counts[name]), expected)


def test_golden_uniform_counts():
    entry = golden("rigl.random_mask_count")
    for (shape, sparsity), ones in zip(entry["input"], entry["expected"], strict=True):
        assert allocation.uniform({"w": shape}, sparsity) == {"w": ones}


@pytest.mark.parametrize(
    "shapes",
    [
        '{"a": [2, 4]}',
        '{"a": [2, 4], "b": [3, 6], "c": [2, 4, 6]}',
        '{"a": [2, 4], "b.c": [3, 6, 7], "b.d": [7, 4]}',
    ],
)
def test_golden_erk(shapes):
    # The golden run with exponent 2 is left out: ERK as published has no exponent. The kernel
    # terms make the formula symmetric in the dimensions, so their order does not matter here.
    entry = golden(f"erk.{shapes}@0.5,kernel=True,scale=1.0")
    given_shapes = entry["input"]["shapes"]
    counts = allocation.erdos_renyi(given_shapes, entry["input"]["sparsity"])
    for name, expected in entry["expected"].items():
        size = math.prod(given_shapes[name])
        # Printed values are good to 0.005; counts are whole, and theirs prune
        # floor(sparsity * size) a layer, which may leave one weight more a layer.
        tolerance = 0.005 + (1 + len(given_shapes)) / size
        assert 1 - counts[name] / size == pytest.approx(expected, abs=tolerance)


NETS = ["lenet300_100", "lenet5_caffe", "mlp_512", "resnet20_cifar", "resnet50_imagenet"]


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("sparsity", [0.8, 0.9, 0.95, 0.98])
@pytest.mark.parametrize("kernel", [True, False])
def test_golden_reference_run(net, sparsity, kernel):
    cases = [c for c in golden_file("golden_erk_reference_run.json")["cases"] if c["net"] == net]
    (case,) = [c for c in cases if (c["sparsity"], c["include_kernel"]) == (sparsity, kernel)]
    shapes = {name: torch_order(shape) for name, shape in cases[0]["shapes"].items()}
    counts = allocation.erdos_renyi(shapes, sparsity, kernel=kernel)
    sizes = {name: math.prod(shape) for name, shape in shapes.items()}
    # The reference prunes floor(sparsity * size) a layer before it solves for eps: its total is
    # larger by that rounding, and no layer can differ by more than that plus our own rounding of
    # less than one weight. Its densities are printed to 8 decimals.
    reference_total = sum(size - math.floor(sparsity * size) for size in sizes.values())
    rounding = 1 + abs(reference_total - sum(counts.values()))
    for name, expected in case["layer_sparsity"].items():
        error = abs(counts[name] - (1 - expected) * sizes[name])
        assert error <= rounding + 0.5e-8 * sizes[name], name


def torch_order(hwio):
    *kernel, n_in, n_out = hwio
    return (n_out, n_in, *kernel)


# ---- published figures that need no data ----


@pytest.mark.parametrize(
    ("sparsity", "expected"),
    [
        (0.90, [0.92043, 0.76981, 0]),
        (0.95, [0.96152, 0.88867, 0.08149]),
        (0.98, [0.98461, 0.95547, 0.63260]),
    ],
)
def test_lenet_300_100_erk(sparsity, expected):
    found = layer_sparsity(LENET, allocation.erdos_renyi(LENET, sparsity))
    for (name, value), figure in zip(found.items(), expected, strict=True):
        # Half a unit of the last printed digit, and less than one weight of rounding.
        assert value == pytest.approx(figure, abs=0.5e-5 + 1 / math.prod(LENET[name]))
