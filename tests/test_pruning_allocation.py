"""Allocations: exact totals, the golden ERK runs, published layer-wise figures."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from golden import golden, golden_file
from sparsecore.pruning import allocation, prune_mask, scores

SPARSITY = st.floats(0, 1, exclude_max=True)
SHAPE = st.lists(st.integers(1, 12), min_size=2, max_size=4).map(tuple)
SHAPES = st.lists(SHAPE, min_size=1, max_size=6).map(
    lambda shapes: {f"layer{i}": shape for i, shape in enumerate(shapes)}
)
ALLOCATIONS = [
    allocation.uniform,
    allocation.erdos_renyi,
    lambda shapes, sparsity: allocation.erdos_renyi(shapes, sparsity, kernel=False),
]

LENET = {"fc1": (300, 784), "fc2": (100, 300), "fc3": (10, 100)}


def kept_total(shapes, sparsity):
    size = sum(math.prod(shape) for shape in shapes.values())
    return size - round(sparsity * size)


def layer_sparsity(shapes, counts):
    return {name: 1 - counts[name] / math.prod(shape) for name, shape in shapes.items()}


# ---- exact counts ----


@pytest.mark.parametrize("allocate", ALLOCATIONS, ids=["uniform", "ERK", "ER"])
@given(shapes=SHAPES, sparsity=SPARSITY)
def test_counts_are_possible_and_sum_to_the_exact_total(allocate, shapes, sparsity):
    counts = allocate(shapes, sparsity)
    assert list(counts) == list(shapes)
    assert all(type(count) is int for count in counts.values())
    assert all(0 <= counts[name] <= math.prod(shape) for name, shape in shapes.items())
    assert sum(counts.values()) == kept_total(shapes, sparsity)


@given(shapes=SHAPES, sparsity=SPARSITY)
def test_uniform_is_within_one_weight_of_the_common_density(shapes, sparsity):
    size = sum(math.prod(shape) for shape in shapes.values())
    density = Fraction(kept_total(shapes, sparsity), size)
    for name, count in allocation.uniform(shapes, sparsity).items():
        assert abs(count - density * math.prod(shapes[name])) < 1


@given(shapes=SHAPES, sparsity=SPARSITY)
def test_erk_has_one_eps_and_full_layers_are_those_above_it(shapes, sparsity):
    counts = allocation.erdos_renyi(shapes, sparsity)
    sizes = {name: math.prod(shape) for name, shape in shapes.items()}
    open_layers = [name for name in shapes if counts[name] < sizes[name]]
    if not open_layers:
        return
    # count = eps * sum(shape), rounded by less than one: each layer confines eps to an interval,
    # and a full layer only from below.
    low = max(Fraction(counts[name] - 1, sum(shapes[name])) for name in shapes)
    high = min(Fraction(counts[name] + 1, sum(shapes[name])) for name in open_layers)
    assert low < high


@given(
    st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=12), min_size=1, max_size=5),
    SPARSITY,
)
def test_global_counts_give_the_global_top(layers, sparsity):
    values = {f"layer{i}": np.array(layer, float) for i, layer in enumerate(layers)}
    counts = allocation.global_(values, sparsity)
    joined = np.concatenate(list(values.values()))
    kept = joined.size - round(sparsity * joined.size)
    masks = [prune_mask(values[name], counts[name]) for name in values]
    np.testing.assert_array_equal(np.concatenate(masks), prune_mask(joined, kept))


def test_the_largest_remainder_rounds_up():
    # 6 of 10 stay: shares 4.2 and 1.8.
    assert allocation.uniform({"a": (1, 7), "b": (1, 3)}, 0.4) == {"a": 4, "b": 2}


def test_ties_go_to_the_earlier_layer():
    assert allocation.uniform({"a": (1, 3), "b": (1, 3)}, 0.5) == {"a": 2, "b": 1}
    same = {"a": np.ones(3), "b": np.ones(3)}
    assert allocation.global_(same, 0.5) == {"a": 3, "b": 0}


def test_total_uses_pythons_round():
    # round(2.5) = 2 pruned of 5, so 3 stay; round(3.5) = 4 pruned of 7, so 3 stay.
    assert allocation.uniform({"a": (1, 5)}, 0.5) == {"a": 3}
    assert allocation.uniform({"a": (1, 7)}, 0.5) == {"a": 3}


@pytest.mark.parametrize("allocate", [allocation.uniform, allocation.erdos_renyi])
def test_arrays_stand_for_their_shapes(allocate):
    arrays = {name: np.zeros(shape) for name, shape in LENET.items()}
    assert allocate(arrays, 0.9) == allocate(LENET, 0.9)


def test_tensors_are_counted_like_arrays():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(3)
    arrays = {name: rng.integers(0, 9, shape).astype(np.float32) for name, shape in LENET.items()}
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    for allocate in (allocation.uniform, allocation.erdos_renyi, allocation.global_):
        assert allocate(tensors, 0.9) == allocate(arrays, 0.9)


@pytest.mark.parametrize("allocate", [allocation.uniform, allocation.erdos_renyi])
def test_nothing_and_empty_layers(allocate):
    assert allocate({}, 0.5) == {}
    assert allocate({"empty": (0, 4)}, 0.5) == {"empty": 0}
    assert allocate({"empty": (0, 4), "a": (2, 4)}, 0.5) == {"empty": 0, "a": 4}


def test_global_of_nothing():
    assert allocation.global_({}, 0.5) == {}
    assert allocation.global_({"empty": np.zeros((0, 2)), "a": np.ones(2)}, 0.5) == {
        "empty": 0,
        "a": 1,
    }


@pytest.mark.parametrize("sparsity", [-0.1, 1.0, 1.5, math.nan])
@pytest.mark.parametrize(
    "allocate", [allocation.uniform, allocation.erdos_renyi, allocation.global_]
)
def test_sparsity_out_of_range(allocate, sparsity):
    with pytest.raises(ValueError, match=r"sparsity is .*, expected a fraction in \[0, 1\)"):
        allocate({"a": np.ones((2, 2))}, sparsity)


def test_erdos_renyi_refuses_vectors():
    with pytest.raises(ValueError, match=r"shapes\['bias'\] is \(10,\)"):
        allocation.erdos_renyi({"bias": (10,)}, 0.5)


def test_global_refuses_nan_and_says_where():
    with pytest.raises(ValueError, match=r"scores\['b'\] has 1 NaN among 2"):
        allocation.global_({"a": np.ones(2), "b": np.array([1.0, np.nan])}, 0.5)


# ---- golden values ----


def test_golden_global_magnitude():
    entry = golden("global_magnitude")
    weights = {name: np.array(w) for name, w in entry["input"]["scores"].items()}
    scored = scores.magnitude(weights)
    counts = allocation.global_(scored, entry["input"]["sparsity"])
    for name, expected in entry["expected"].items():
        np.testing.assert_array_equal(prune_mask(scored[name], counts[name]), expected)


def test_uniform_golden_counts() -> None:
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


# Parameters and multiplications as google-research/rigl's str_sparsities.py prints them, without
# the 2048 * 7 * 7 additions of the average pool that its total includes.
RESNET50_WEIGHTS = 25_502_912
RESNET50_MACS = 4_089_284_608 - 2048 * 7 * 7


def resnet50():
    """Return (shape, positions of its output) for each convolution and the classifier."""
    layers = {"conv1": ((64, 3, 7, 7), 112 * 112)}
    n_in = 64
    for stage, (width, blocks) in enumerate([(64, 3), (128, 4), (256, 6), (512, 3)]):
        side = 56 // 2**stage
        for block in range(blocks):
            # As in torchvision, the 3x3 convolution of a stage's first block has the stride.
            side_in = side * 2 if block == 0 and stage > 0 else side
            prefix = f"layer{stage + 1}.{block}"
            layers[f"{prefix}.conv1"] = ((width, n_in, 1, 1), side_in**2)
            layers[f"{prefix}.conv2"] = ((width, width, 3, 3), side**2)
            layers[f"{prefix}.conv3"] = ((4 * width, width, 1, 1), side**2)
            if block == 0:
                layers[f"{prefix}.downsample"] = ((4 * width, n_in, 1, 1), side**2)
            n_in = 4 * width
    layers["fc"] = ((1000, 2048), 1)
    return layers


def test_resnet50_has_its_published_size_and_cost():
    layers = resnet50()
    assert len(layers) == 54
    assert sum(math.prod(shape) for shape, _ in layers.values()) == RESNET50_WEIGHTS
    assert sum(math.prod(shape) * at for shape, at in layers.values()) == RESNET50_MACS


@pytest.mark.parametrize(
    ("sparsity", "expected"), [(0.8, 0.4138), (0.9, 0.2418), (0.95, 0.1217), (0.965, 0.0852)]
)
def test_resnet50_erk_flops(sparsity, expected):
    counts = allocation.erdos_renyi({n: shape for n, (shape, _) in resnet50().items()}, sparsity)
    assert flops_fraction(counts) == pytest.approx(expected, abs=0.5e-4)


@pytest.mark.parametrize(("sparsity", "expected"), [(0.8, 0.2231), (0.9, 0.126)])
def test_resnet50_uniform_flops_with_the_first_layer_dense(sparsity, expected):
    shapes = {name: shape for name, (shape, _) in resnet50().items()}
    first = shapes.pop("conv1")
    counts = {"conv1": math.prod(first)} | allocation.uniform(shapes, sparsity)
    assert flops_fraction(counts) == pytest.approx(expected, abs=0.5e-4)


def flops_fraction(counts):
    layers = resnet50()
    dense = sum(math.prod(shape) * at for shape, at in layers.values())
    return sum(counts[name] * at for name, (_, at) in layers.items()) / dense
