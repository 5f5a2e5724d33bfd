"""audit: counts, dead units, paths against a search of the graph, and what it warns of."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
nn = torch.nn

from sparsecore.pruning import audit, prune  # noqa: E402


def mlp(widths: list[int], density: float, seed: int, between: Any = nn.ReLU) -> Any:
    generator = torch.Generator().manual_seed(seed)
    layers: list[Any] = []
    for width, following in itertools.pairwise(widths):
        layer = nn.Linear(width, following)
        with torch.no_grad():
            mask = torch.rand(layer.weight.shape, generator=generator) < density
            layer.weight.mul_(mask)
        layers += [layer, between()]
    return nn.Sequential(*layers[:-1])


def paths_by_search(masks: list[np.ndarray]) -> list[np.ndarray]:
    """Return which weights of a chain of matrices have both an input behind and an output ahead."""
    ahead = [np.ones(masks[-1].shape[0], bool)]
    for mask in reversed(masks):
        ahead.append(np.array([any(mask[:, j] & ahead[-1]) for j in range(mask.shape[1])]))
    ahead = ahead[::-1]
    behind, found = np.ones(masks[0].shape[1], bool), []
    for mask, goal in zip(masks, ahead[1:], strict=True):
        found.append(mask & behind[None, :] & goal[:, None])
        behind = np.array([any(mask[i] & behind) for i in range(mask.shape[0])])
    return found


@pytest.mark.parametrize("between", [nn.ReLU, nn.Sigmoid, nn.Tanh, nn.GELU])
@pytest.mark.parametrize("seed", range(3))
def test_paths_of_random_networks(seed: int, between: Any) -> None:
    widths = [9, 8, 7, 8, 5]
    model = mlp(widths, 0.2, seed, between)
    masks = [(layer.weight != 0).numpy() for layer in model[::2]]
    expected = paths_by_search(masks)
    report = audit(model, torch.zeros(1, 9))
    for layer, mask, path in zip(report.layers, masks, expected, strict=True):
        assert layer.kept == mask.sum()
        assert layer.connected == path.sum()
        assert layer.dead_outputs == tuple(np.flatnonzero(~mask.any(1)))
        assert layer.dead_inputs == tuple(np.flatnonzero(~mask.any(0)))
        assert layer.cut_outputs == tuple(np.flatnonzero(~path.any(1)))
        assert layer.cut_inputs == tuple(np.flatnonzero(~path.any(0)))
    size = sum(mask.size for mask in masks)
    assert report.sparsity == (size - sum(int(mask.sum()) for mask in masks)) / size
    connected = sum(int(path.sum()) for path in expected)
    assert report.effective_sparsity == (size - connected) / size
    assert 0 < connected < report.kept


def test_two_hundred_layers_neither_overflow_nor_vanish() -> None:
    model = mlp([40] * 200, 2, 0)
    report = audit(model, torch.zeros(1, 40))
    assert report.connected == report.size
    with torch.no_grad():
        model[0].weight[1:] = 0  # one unit of forty goes on
        model[2].weight[:, 1:] = 0
        model[2].weight[5, 0] = 0  # to all but one, which 40 weights read
    report = audit(model, torch.zeros(1, 40))
    assert report.kept == report.size - 2 * 39 * 40 - 1
    assert report.connected == report.kept - 40
    assert report.warnings == ()


def test_without_an_example_there_are_no_paths() -> None:
    report = audit(mlp([4, 3, 2], 0.5, 1))
    assert report.connected is None
    assert report.effective_sparsity is None
    assert "on a path" not in repr(report)


def test_collapse_and_what_is_broken_is_told() -> None:
    model = mlp([40, 30, 20, 10], 2, 0)
    with torch.no_grad():
        model[2].weight.zero_()
        model[4].weight[0, 1:].fill_(0)
        model[4].weight[1:].zero_()
        model[4].bias[3] = math.nan
        model[0].weight[0, 0] = math.inf
    told = audit(model, torch.zeros(1, 40)).warnings
    assert told == (
        "0.weight: disconnected, none of its 1200 weights is on a path from input to output",
        "2.weight: layer collapse, no weight is kept",
        "4.weight: disconnected, none of its 1 weights is on a path from input to output",
        "0.weight: 1 of 1200 are infinite",
        "4.bias: 1 of 10 are NaN",
    )
    assert audit(model).warnings[1] == "4.weight: keeps 1 of 200 weights, 0.50%, below 1.00%"
    assert len(audit(model, least_density=0.004).warnings) == 3
    assert repr(audit(model)).endswith("4.bias: 1 of 10 are NaN")


def test_masks_decide_what_is_kept_and_are_compared_with_the_weights() -> None:
    model = mlp([4, 3, 2], 2, 0)
    masks = prune(model, 0.5)
    kept = sum(int(mask.sum()) for mask in masks.values())
    with torch.no_grad():
        model[0].weight.fill_(1.0)
    report = audit(model, torch.zeros(1, 4), masks=masks)
    assert report.kept == kept
    stray = 12 - int(masks["0.weight"].sum())
    assert report.warnings == (
        f"0.weight: {stray} weights outside of the mask are not zero: it is not in force",
    )


def test_what_is_refused() -> None:
    model = mlp([4, 3, 2], 2, 0)
    with pytest.raises(ValueError, match="ReLU has no Linear or Conv weight"):
        audit(nn.ReLU())
    with pytest.raises(
        ValueError, match=r"audit: masks\['x'\] has shape \(2,\), .* no such weight"
    ):
        audit(model, masks={"x": torch.ones(2, dtype=torch.bool)})
    with pytest.raises(TypeError, match=r"audit: masks\['0\.weight'\] is torch\.float32"):
        audit(model, masks={"0.weight": torch.ones(3, 4)})
    with pytest.raises(TypeError, match="audit: example_inputs is a list"):
        audit(model, [1])
    with pytest.raises(ValueError, match=r"least_density is 1\.5"):
        audit(model, least_density=1.5)

    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(4, 4)

        def forward(self, x: Any) -> Any:
            return self.inner(x.digamma())

    with pytest.raises(ValueError, match="paths cannot be followed: an operation gives"):
        audit(Odd(), torch.zeros(1, 4))
    with pytest.raises(ValueError, match=r"paths through nn\.MultiheadAttention cannot"):
        audit(nn.TransformerEncoderLayer(8, 2, 16), torch.zeros(1, 3, 8))


def test_empty_weights_have_no_density_and_no_live_units() -> None:
    model = nn.Linear(1, 4)
    model.weight = nn.Parameter(torch.ones(4, 0))
    report = audit(model)
    assert report.layers[0].dead_outputs == (0, 1, 2, 3)
    assert math.isnan(report.sparsity)
    assert "sparsity nan" in repr(report)
    with pytest.raises(TypeError, match="audit: masks is list, expected a mapping"):
        audit(nn.Linear(2, 2), masks=[1])
