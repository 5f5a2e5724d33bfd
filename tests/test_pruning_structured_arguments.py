"""Arguments of structured pruning and of `shrink_` that are refused before anything changes."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("torch_pruning", reason="channels are removed by torch-pruning")
nn = torch.nn

from sparsecore.nn import shrink_  # noqa: E402
from sparsecore.pruning.structured import prune_filters_, prune_heads_, thinet_  # noqa: E402

X = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def net() -> Any:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 3))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"sparsity": "x"}, TypeError, "sparsity is 'x', a str, expected a fraction"),
        ({"sparsity": {"0": None}}, TypeError, "0: sparsity is None, a NoneType, expected a"),
        ({"leaders": "0"}, TypeError, "leaders is '0', expected a collection"),
        ({"score": "magnitude"}, TypeError, "score is 'magnitude', expected a function"),
        ({"score": lambda _: None}, TypeError, "score returned NoneType, expected scores"),
        ({"where": "0"}, TypeError, "where is str, expected a function"),
        ({"max_error": math.nan}, ValueError, "max_error is nan, expected a number"),
        ({"max_error": "x"}, ValueError, "max_error is 'x', expected a number"),
    ],
)
def test_filters(options: Any, error: Any, message: str) -> None:
    model = net()
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(error, match=f"^prune_filters_: {message}"):
        prune_filters_(model, X, **({"sparsity": 0.5} | options))
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)


CALLS = [
    ("prune_filters_", lambda model: prune_filters_(model, X, 0.5)),
    ("thinet_", lambda model: thinet_(model, [X], 0.5)),
    ("prune_heads_", lambda model: prune_heads_(model, 0.5)),
    ("shrink_", lambda model: shrink_(model, X)),
]


@pytest.mark.parametrize(("name", "call"), CALLS)
def test_models_without_values_or_that_are_none(name: str, call: Any) -> None:
    with pytest.raises(TypeError, match=f"^{name}: model is int, expected a torch Module"):
        call(3)
    with pytest.raises(ValueError, match=rf"^{name}: 0\.weight of the model is on the meta dev"):
        call(net().to("meta"))


def test_thinet_s_own() -> None:
    with pytest.raises(TypeError, match=r"thinet_: generator is int, expected a torch\.Generator"):
        thinet_(net(), [X], 0.5, generator=0)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="thinet_: batches is int, expected an iterable"):
        thinet_(net(), 3, 0.5)  # type: ignore[arg-type]


def test_an_example_without_samples() -> None:
    for call in (lambda m, x: prune_filters_(m, x, 0.5), shrink_):
        model = net()
        before = copy.deepcopy(model.state_dict())
        with pytest.raises(ValueError, match="the example has no elements where a layer reads it"):
            call(model, X[:0])
        torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)
