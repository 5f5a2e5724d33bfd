"""nn/taint.py: operations that are let run hand NaN on, exactly; what a layer's input always is."""

from collections.abc import Callable

import pytest

torch = pytest.importorskip("torch")

import torch.nn.functional as F  # noqa: E402
from torch import Tensor, nn  # noqa: E402

from sparsecore.nn.example import Example  # noqa: E402
from sparsecore.nn.taint import constant_inputs, leak  # noqa: E402


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last], ids=str)
def test_elementwise_operations_hand_on_nan_where_it_is_and_nowhere_else(
    dtype: torch.dtype, order: torch.memory_format
) -> None:
    functions: list[Callable[[Tensor], Tensor]] = [
        *(F.relu, F.gelu, F.silu, torch.sigmoid, torch.tanh, F.relu6, F.hardtanh, F.hardswish),
        *(F.hardsigmoid, F.leaky_relu, F.elu, F.softplus, torch.exp, nn.PReLU(33).to(dtype)),
        nn.BatchNorm2d(33).to(dtype).eval(),
    ]
    # 33 channels: beyond any vector's end.
    x = torch.linspace(-5, 5, 2 * 33 * 9 * 9).view(2, 33, 9, 9)
    place = torch.rand(x.shape, generator=torch.Generator().manual_seed(0)) < 0.1
    x = x.masked_fill(place, torch.nan).to(dtype).contiguous(memory_format=order)
    for function in functions:
        assert torch.equal(function(x).isnan(), place), function
    for pool in (F.max_pool2d, F.avg_pool2d):
        assert torch.equal(pool(x, 2).isnan(), F.max_pool2d(place.float(), 2) > 0)


class Tokens(nn.Module):
    """Integers, which cannot be NaN, decide on everything."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.a, self.b = nn.Embedding(5, 3), nn.Linear(3, 4), nn.Linear(4, 2)

    def forward(self, tokens: Tensor) -> Tensor:
        y: Tensor = self.b(F.gelu(self.a(self.embedding(tokens))) * tokens[:, None])
        return y


def test_what_integers_decide_is_no_constant() -> None:
    model = Tokens()
    with torch.no_grad():
        model.embedding.weight.copy_(torch.ones(5, 3))
    dead = {model.a: torch.ones(4, dtype=torch.bool)}
    found = constant_inputs(model, Example.of(torch.tensor([1, 1])), [model.a, model.b], dead)
    assert found[model.a].isnan().all()
    assert found[model.b].isnan().all()


def test_what_differs_at_the_edge_is_no_constant() -> None:
    model = nn.Sequential(nn.Conv2d(2, 3, 1), nn.ZeroPad2d(1), nn.Conv2d(3, 1, 1))
    dead = {model[0]: torch.tensor([True, True, False])}
    with torch.no_grad():
        model[0].bias.copy_(torch.tensor([0.5, 0.0, 0.5]))
    found = constant_inputs(model, Example.of(torch.zeros(1, 2, 4, 4)), [model[2]], dead)
    assert found[model[2]].nan_to_num(7.0).tolist() == [7.0, 0.0, 7.0]


def test_the_constant_of_a_dead_unit_is_read_whatever_the_input() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.GELU(), nn.Linear(4, 2)).double()
    dead = {model[0]: torch.tensor([False, True, False, True])}
    x = torch.zeros(2, 3, dtype=torch.float64)
    found = constant_inputs(model, Example.of(x), [model[2]], dead)[model[2]]
    assert found.isnan().tolist() == [True, False, True, False]
    expected = F.gelu(model[0].bias.detach())[[1, 3]]
    torch.testing.assert_close(found[[1, 3]], expected, rtol=1e-14, atol=0)


def test_a_leak_is_what_reaches_the_output_by_another_way() -> None:
    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(3, 4), nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            y = self.a(x)
            out: Tensor = self.b(y) + y[:, 2:]
            return out

    model, example = Both(), Example.of(torch.ones(2, 3))
    assert leak(model, example, {model.a: [1]}, {model.b: {1: 0.0}}) is None
    assert leak(model, example, {model.a: [1]}, {}) is not None
    assert leak(model, example, {model.a: [1, 2]}, {model.b: {1: 0.0, 2: 0.0}}) is not None
