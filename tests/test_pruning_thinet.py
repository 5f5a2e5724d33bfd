"""pruning/structured/thinet.py: greedy choice and rescaling, against their definitions."""

import copy
import functools
import itertools
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("torch_pruning", reason="thinet_ needs torch-pruning")

from torch import Tensor, nn  # noqa: E402

from shrink_cases import ConvNet, Residual, seeded  # noqa: E402
from sparsecore.nn.example import Example  # noqa: E402
from sparsecore.pruning.structured import (  # noqa: E402
    FilterReport,
    least_squares_factors,
    prune_filters_,
    reconstruction_error,
    thinet_,
    thinet_channels,
)
from sparsecore.pruning.structured.channel_groups import channel_groups  # noqa: E402
from sparsecore.pruning.structured.sampled_contributions import (  # noqa: E402
    sampled_contributions,
)
from structured_cases import bottlenecks, inputs, lowest, pruned, sizes  # noqa: E402

X = np.random.default_rng(0).normal(size=(40, 7)) * np.linspace(0.5, 1.5, 7)


# ---- the arithmetic ----


def missed(kept: Any) -> float:
    return float(sum((X[i].sum() - X[i, list(kept)].sum()) ** 2 for i in range(len(X))))


@pytest.mark.parametrize("kept", range(1, 8))
def test_the_greedy_choice_is_the_one_of_the_paper(kept: int) -> None:
    removed: list[int] = []
    while len(removed) < 7 - kept:
        costs = {
            j: sum(X[i, [*removed, j]].sum() ** 2 for i in range(len(X)))
            for j in range(7)
            if j not in removed
        }
        removed.append(min(costs, key=lambda j: costs[j]))
    found = thinet_channels(X, kept)
    assert found == sorted(set(range(7)) - set(removed))
    best = min(missed(subset) for subset in itertools.combinations(range(7), kept))
    assert missed(found) >= best * (1 - 1e-12)
    assert missed(found) <= 1.5 * best  # greedy is not the best of all subsets, but near it here
    assert reconstruction_error(X, found) == pytest.approx(missed(found), rel=1e-12)


def test_ties_and_classes() -> None:
    assert thinet_channels(np.ones((3, 5)), 2) == [0, 1]
    strong = np.diag([4.0, 3.0, 2.0, 1.0])
    assert thinet_channels(strong, 2) == [0, 1]
    assert thinet_channels(strong, 2, classes=[0, 0, 1, 1]) == [0, 2]


def test_factors_are_those_of_least_squares() -> None:
    kept = [0, 2, 5]
    factors = least_squares_factors(torch.from_numpy(X), kept)
    expected = np.linalg.lstsq(X[:, kept], X.sum(1), rcond=None)[0]
    np.testing.assert_allclose(factors, expected, rtol=1e-12)
    assert reconstruction_error(X, kept, factors) < reconstruction_error(X, kept)
    dead = np.column_stack([X, np.zeros(40)])  # least squares leaves its factor open
    assert least_squares_factors(dead, [0, 2, 5, 7])[3] == 1.0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: thinet_channels(X[0], 1), r"shape \(7,\), expected \(samples, channels\)"),
        (lambda: thinet_channels(X, 0), "kept is 0, expected 1 to 7"),
        (lambda: thinet_channels(X, 3, classes=[0, 1] * 3 + [0]), "classes"),
        (lambda: reconstruction_error(np.full((1, 2), np.nan), [0]), "2 NaN or infinite"),
    ],
)
def test_the_arithmetic_refuses(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


# ---- sampling ----


@pytest.mark.parametrize(
    "reader",
    [
        nn.Conv2d(4, 6, 3, 2, padding=1, dilation=2, groups=2),
        nn.Conv2d(4, 6, (1, 3), padding="same", padding_mode="circular"),
        nn.Linear(7, 6),
    ],
)
def test_contributions_add_up_to_outputs(reader: nn.Module) -> None:
    model = seeded(nn.Sequential(nn.Conv2d(2, 4, 1), nn.ReLU(), reader, nn.Flatten()))
    if isinstance(reader, nn.Linear):
        model = seeded(nn.Sequential(nn.Linear(7, 7), nn.ReLU(), reader, nn.Linear(6, 2)))
    x = inputs(1, 3, 2, 7, 7)
    group = channel_groups(model, Example.of(x), caller="test")[0]

    def draw() -> Tensor:
        generator = torch.Generator().manual_seed(0)
        examples = [Example.of(x)]
        return sampled_contributions(
            model, examples, group.channels, samples=20, generator=generator
        )[reader]

    drawn = draw()
    assert drawn.shape == (60, len(group.channels))
    with torch.no_grad():
        reader.bias.zero_()  # contributions are without it
        outputs = reader(model[1](model[0](x))).flatten(1)
    for image, sums in enumerate(drawn.sum(1).view(3, 20)):
        assert (outputs[image][None] - sums[:, None]).abs().amin(1).max() < 1e-12
    assert len(drawn.sum(1).unique()) > 40  # places and units vary
    with torch.no_grad():
        model[0].weight[1:] = model[0].bias[1:] = 0.0
    torch.testing.assert_close(draw()[:, 0], drawn[:, 0], rtol=1e-12, atol=1e-12)
    assert not draw()[:, 1:].any()


# ---- the model ----


def thinet(model: nn.Module, x: Tensor, **options: Any) -> FilterReport:
    return thinet_(model, [(x, None)], samples=200, **options)


def test_a_channel_that_another_repeats_goes_without_a_trace() -> None:
    model = seeded(ConvNet())
    with torch.no_grad():
        for tensor in (model.conv1.weight, model.conv1.bias, *model.bn1.parameters()):
            tensor[4] = tensor[1]
        model.bn1.running_mean[4] = model.bn1.running_mean[1]
        model.bn1.running_var[4] = model.bn1.running_var[1]
        model.conv2.weight[:, 4] = model.conv2.weight[:, 1] = model.conv2.weight[:, 1] / 20
    x, others = inputs(1, 4, 2, 8, 8), inputs(2, 3, 2, 8, 8)
    expected, column = model(others), model.conv2.weight[:, 1].clone()
    report = thinet_(model, [x], kept={"conv1": 5}, samples=50)
    assert report.kept["conv1"] in {(0, 1, 2, 3, 5), (0, 2, 3, 4, 5)}
    assert report.reconstruction["conv1"] < 1e-20
    at = next(i for i, old in enumerate(report.kept["conv1"]) if old in {1, 4})
    torch.testing.assert_close(model.conv2.weight[:, at], 2 * column)
    torch.testing.assert_close(model(others), expected, rtol=1e-10, atol=1e-10)


def test_it_misses_less_than_the_choice_by_norm() -> None:
    model = seeded(ConvNet())
    with torch.no_grad():
        model.conv2.weight[:, lowest(3, model.conv1.weight)] *= 8  # small filters, loudly read
    other, x = copy.deepcopy(model), inputs(1, 8, 2, 8, 8)
    with torch.no_grad():
        reference = model(x)
        thinet_(model, [x], kept={"conv1": 3}, samples=50)
        prune_filters_(other, x, kept={"conv1": 3})
        ours, norms = ((m(x) - reference).square().sum() for m in (model, other))
    assert ours < 0.5 * norms


@pytest.mark.parametrize("build", [Residual, functools.partial(bottlenecks, 2)])
def test_the_smaller_model_computes_what_the_masked_one_does(build: Any) -> None:
    model = seeded(build())
    plain, scaled, x = copy.deepcopy(model), copy.deepcopy(model), inputs(1, 2, 2, 8, 8)
    report = pruned(plain, 2, 8, 8, prune=thinet, sparsity=0.5, rescale=False)
    assert report.whole == {}
    assert sizes(report) == {
        layer.name: layer.after for layer in prune_filters_(copy.deepcopy(model), x, 0.5).layers
    }
    masked = thinet(model, x, sparsity=0.5, remove=False)
    assert all(not model.get_parameter(n)[~mask].any() for n, mask in masked.masks.items())
    removed = thinet(scaled, x, sparsity=0.5)
    assert removed.kept == masked.kept
    assert removed.reconstruction == masked.reconstruction
    torch.testing.assert_close(scaled(x), model(x), rtol=1e-10, atol=1e-10)
    assert not torch.allclose(scaled(x), plain(x), rtol=1e-3)
