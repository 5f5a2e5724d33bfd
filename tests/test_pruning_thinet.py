"""pruning/structured/thinet.py: what it samples, and what becomes of models."""

import copy
import functools
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
    prune_filters_,
    thinet_,
)
from sparsecore.pruning.structured.channel_groups import channel_groups  # noqa: E402
from sparsecore.pruning.structured.sampled_contributions import (  # noqa: E402
    sampled_contributions,
)
from structured_cases import bottlenecks, inputs, lowest, pruned, sizes  # noqa: E402

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


def test_weights_behind_groups_are_scaled_by_least_squares() -> None:
    model, x = seeded(bottlenecks(2)), inputs(1, 4, 2, 8, 8)
    reader, original = model[1].conv2, copy.deepcopy(model[1].conv2.weight.detach())
    groups = channel_groups(model, Example.of(x), caller="test")
    group = next(g for g in groups if g.layers == (model[1].conv1,))
    generator = torch.Generator().manual_seed(5)
    drawn = sampled_contributions(
        model, [Example.of(x)], group.channels, samples=40, generator=generator
    )[reader].numpy()
    report = thinet_(
        *(model, [x]), kept={"1.conv1": 6}, samples=40, generator=generator.manual_seed(5)
    )
    kept = report.kept["1.conv1"]
    factors = np.linalg.lstsq(drawn[:, kept], drawn.sum(1), rcond=None)[0]
    assert abs(factors - 1).max() > 0.1
    for at, (channel, factor) in enumerate(zip(kept, factors, strict=True)):
        half, column = divmod(channel, 4)
        rows = slice(4 * half, 4 * half + 4)
        expected = factor * original[rows, column]
        torch.testing.assert_close(reader.weight[rows, at % 3], expected, rtol=1e-9, atol=1e-9)


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


# ---- refused, and whole ----


def test_batches_of_each_kind_are_the_same() -> None:
    x, found = inputs(1, 2, 2, 8, 8), []
    for batch in (x, {"x": x}, (x, None), [x, None], ((x,), None), ({"x": x}, 0)):
        model = seeded(ConvNet())
        thinet_(model, iter([batch]), 0.5)
        found.append(model.conv2.weight)
    assert all(torch.equal(found[0], other) for other in found)


@pytest.mark.parametrize(
    ("batches", "options", "error", "message"),
    [
        ([], {}, ValueError, "batches is empty"),
        ([(1, 2, 3)], {}, TypeError, "a batch is a tuple of 3, expected"),
        ([(1, 2)], {}, TypeError, "example_inputs is a int"),
        (None, {"samples": 0}, ValueError, "samples is 0"),
        (None, {"samples": 1}, ValueError, "conv1 keeps 3 channels by 2 samples"),
        (None, {"kept": {"conv2": 9}, "sparsity": None}, ValueError, "is 9, expected 1 to 5"),
    ],
)
def test_what_it_refuses(batches: Any, options: Any, error: type, message: str) -> None:
    model = seeded(ConvNet())
    batches = [inputs(1, 2, 2, 8, 8)] if batches is None else batches
    with pytest.raises(error, match=message):
        thinet_(model, batches, **{"sparsity": 0.5, **options})


def test_an_error_halfway_leaves_the_model_as_it_was() -> None:
    model = seeded(ConvNet())
    with torch.no_grad():
        model.conv2.weight[0] = torch.nan
    before = copy.deepcopy(model.state_dict())
    parameters = list(map(id, model.parameters()))
    with pytest.raises(ValueError, match=r"conv1 gets \d+ NaN or infinite values"):
        thinet_(model, [inputs(1, 2, 2, 8, 8)], 0.5)
    with torch.no_grad():  # the first layer succeeds now, and is masked and scaled, the second not
        before["conv2.weight"][0] = model.conv2.weight[0] = 1.0
        before["fc.weight"][0] = model.fc.weight[0] = torch.nan
    with pytest.raises(ValueError, match="conv2 gets"):
        thinet_(model, [inputs(1, 2, 2, 8, 8)], 0.5)
    assert list(map(id, model.parameters())) == parameters
    for name, value in model.state_dict().items():
        assert torch.equal(value.nan_to_num(7), before[name].nan_to_num(7)), name


def test_layers_whose_readers_cannot_be_taken_apart_stay_whole() -> None:
    model = seeded(
        nn.Sequential(nn.Conv2d(2, 6, 1), nn.ConvTranspose2d(6, 4, 2), nn.Conv2d(4, 2, 1))
    )
    report = thinet_(model, [inputs(1, 2, 2, 5, 5)], 0.5)
    assert sizes(report) == {"0": (2, 6), "1": (6, 2), "2": (2, 2)}
    assert "1, which reads it, is a ConvTranspose2d" in report.whole["0"]
    with pytest.raises(ValueError, match="thinet_: 0 cannot lose filters: 1, which reads it"):
        thinet_(model, [inputs(1, 2, 2, 5, 5)], kept={"0": 3})
