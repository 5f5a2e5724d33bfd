"""FLOPs of layers and of training: the published figures of ResNet-50 and VGG-16, and formulas."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from golden import golden_file
from sparsecore import pruning
from sparsecore.pruning import Cubic, allocation, flops


def resnet50() -> tuple[dict[str, tuple[int, ...]], dict[str, int]]:
    """Return the weight shapes of ResNet-50 and how many pixels each is applied to at 224 x 224."""
    shapes: dict[str, tuple[int, ...]] = {"conv1": (64, 3, 7, 7)}
    positions, channels = {"conv1": 112 * 112}, 64
    stages = ((64, 3, 56), (128, 4, 28), (256, 6, 14), (512, 3, 7))
    for stage, (width, blocks, side) in enumerate(stages):
        for block in range(blocks):
            # The stride is in the 3 x 3 convolution; before it, the side is the last stage's.
            before = side * 2 if stage and not block else side
            name = f"layer{stage + 1}.{block}"
            convs = {
                "conv1": ((width, channels, 1, 1), before),
                "conv2": ((width, width, 3, 3), side),
                "conv3": ((width * 4, width, 1, 1), side),
            }
            if not block:
                convs["downsample"] = ((width * 4, channels, 1, 1), side)
            for conv, (shape, out) in convs.items():
                shapes[f"{name}.{conv}"], positions[f"{name}.{conv}"] = shape, out * out
            channels = width * 4
    return shapes | {"fc": (1000, 2048)}, positions | {"fc": 1}


def fraction(allocate: Any, sparsity: float) -> float:
    shapes, positions = resnet50()
    dense = {name: flops.layer(shape, positions[name]) for name, shape in shapes.items()}
    return flops.sparse(dense, allocate(shapes, sparsity), shapes) / sum(dense.values())


def test_resnet50_has_its_size() -> None:
    shapes, positions = resnet50()
    assert sum(np.prod(shape) for shape in shapes.values()) == 25_502_912
    # Published with 100 352 = 49 * 2048 more, the pooling before the last layer.
    total = sum(flops.layer(shape, positions[name]) for name, shape in shapes.items())
    assert total == 2 * (4_089_284_608 - 49 * 2048)


def test_resnet50_layer_by_layer_and_at_learned_sparsities() -> None:
    overall, *rows = golden_file("golden_str_resnet50.json")["rows"]
    shapes, positions = resnet50()
    named = {name.replace("downsample", "downsample.0"): shape for name, shape in shapes.items()}
    assert {row["layer"]: row["params"] for row in rows} == {
        name: int(np.prod(shape)) for name, shape in named.items()
    }
    dense = {name: flops.layer(shape, positions[name]) for name, shape in shapes.items()}
    assert [2 * row["flops"] for row in rows] == list(dense.values())
    for run, percent in enumerate(overall["sparsity_pct"]):
        # Each layer's sparsity is published to two decimals, so the total to one of the last.
        densities = {
            name: 1 - row["sparsity_pct"][run] / 100 for name, row in zip(shapes, rows, strict=True)
        }
        kept = allocation.Explicit(densities)
        assert 100 * kept.sparsity(shapes) == pytest.approx(percent, abs=0.011)


@pytest.mark.parametrize(
    ("sparsity", "expected"), [(0.8, 0.4138), (0.9, 0.2418), (0.95, 0.1217), (0.965, 0.0852)]
)
def test_resnet50_erk(sparsity: float, expected: float) -> None:
    assert fraction(allocation.erdos_renyi, sparsity) == pytest.approx(expected, abs=0.5e-4)


@pytest.mark.parametrize(("sparsity", "expected"), [(0.8, 0.2231), (0.9, 0.126)])
def test_resnet50_uniform_with_a_dense_first_layer(sparsity: float, expected: float) -> None:
    def uniform(shapes: Any, sparsity: float) -> Any:
        return allocation.uniform(shapes, sparsity, dense_first=True)

    assert fraction(uniform, sparsity) == pytest.approx(expected, abs=0.5e-4)


def vgg16(widths: list[int], torch: Any) -> Any:
    """Return VGG-16 for CIFAR-10 with BatchNorm and one hidden linear layer, Li et al.'s."""
    nn, layers, channels = torch.nn, [], 3
    for i, width in enumerate(widths):
        layers += [nn.Conv2d(channels, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU()]
        channels = width
        if i in (1, 3, 6, 9, 12):
            layers.append(nn.MaxPool2d(2))
    head = [nn.Flatten(), nn.Linear(channels, 512), nn.BatchNorm1d(512), nn.ReLU()]
    return nn.Sequential(*layers, *head, nn.Linear(512, 10))


def test_vgg16_a() -> None:
    torch = pytest.importorskip("torch")
    whole = [64, 64, 128, 128, 256, 256, 256, *[512] * 6]
    # Half of the filters of the first layer and of the last six.
    pruned = [32, 64, 128, 128, 256, 256, 256, *[256] * 6]
    macs, sizes = [], []
    for widths in (whole, pruned):
        with torch.device("meta"):
            model = vgg16(widths, torch)
            found = pruning.forward_flops(model, torch.zeros(1, 3, 32, 32))
        macs.append(sum(found.values()) / 2)
        sizes.append(sum(p.numel() for p in model.parameters() if p.ndim > 1))
    assert [round(n / 1e6, 1) for n in macs] == [313.5, 206.3]
    assert 1 - macs[1] / macs[0] == pytest.approx(0.342, abs=0.5e-3)
    # Of convolutions and linear layers, without biases and BatchNorms.
    assert [round(n / 1e6, 2) for n in sizes] == [14.98, 5.39]


def test_forward_flops_are_torchs_count() -> None:
    torch = pytest.importorskip("torch")
    from torch.utils.flop_counter import FlopCounterMode

    nn = torch.nn
    model = nn.Sequential(
        nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2),
        nn.ConvTranspose2d(6, 4, 3, stride=2),
        nn.Conv2d(4, 4, (1, 3), groups=4),
        nn.Flatten(2),
        nn.Linear(9 * 7, 5),
        nn.Linear(5, 3, bias=False),
    )
    model[5].weight.requires_grad_(False)
    x = torch.randn(2, 4, 8, 8)
    with FlopCounterMode(display=False) as counter:
        model(x)
    before = {name: p.clone() for name, p in model.state_dict().items()}
    found = pruning.forward_flops(model, x)
    assert list(found) == ["0.weight", "1.weight", "2.weight", "4.weight", "5.weight"]
    assert sum(found.values()) == counter.get_total_flops()
    assert all(torch.equal(p, before[name]) for name, p in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())


def test_shared_parametrized_and_unused_weights() -> None:
    torch = pytest.importorskip("torch")
    nn = torch.nn

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.unused = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4)
            self.b.weight = self.a.weight
            self.normed = nn.utils.parametrizations.weight_norm(nn.Linear(4, 2))

        def forward(self, x: Any) -> Any:
            return self.normed(self.b(self.a(x)))

    found = pruning.forward_flops(Net(), torch.zeros(3, 4))
    assert found == {"a.weight": 2 * 2 * 16 * 3, "unused.weight": 0, "normed.weight": 2 * 8 * 3}


def test_training_formulas() -> None:
    assert flops.dense_training(100) == 300
    assert flops.static(10) == 30
    assert flops.rigl(10, 100, every=100) == Fraction(3 * 10 * 100 + 2 * 10 + 100, 101)
    with pytest.raises(ValueError, match="every is 0, expected at least 1"):
        flops.rigl(10, 100, every=0)


def test_gradual_is_the_mean_over_all_steps() -> None:
    ramp = Cubic(begin=10, end=50, every=8)

    def sparse(sparsity: float) -> int:
        return 1000 - round(1000 * sparsity)

    expected = sum(3 * sparse(ramp.sparsity_at(step, 0.9)) for step in range(80))
    assert flops.gradual(sparse, ramp, final=0.9, steps=80) == Fraction(expected, 80)
    with pytest.raises(ValueError, match="steps is 0"):
        flops.gradual(sparse, ramp, final=0.9, steps=0)


def test_a_layer_that_is_called_by_keyword_counts() -> None:
    torch = pytest.importorskip("torch")
    layer = torch.nn.ConvTranspose1d(2, 3, 2)
    assert pruning.forward_flops(layer, {"input": torch.ones(1, 2, 5)}) == {"weight": 2 * 12 * 5}


@pytest.mark.parametrize(
    ("dense", "kept", "shapes"),
    [
        ({"a": 30}, {"b": 1}, {"b": (2, 2)}),
        ({"a": 30}, {"a": 1}, {}),
        ({"a": 30}, {"a": 1}, {"a": (2, 2)}),
        ({"a": 40}, {"a": 5}, {"a": (2, 2)}),
    ],
)
def test_sparse_refuses_what_does_not_fit(dense: Any, kept: Any, shapes: Any) -> None:
    with pytest.raises(ValueError, match=r"flops.sparse: [ab] keeps"):
        flops.sparse(dense, kept, shapes)
