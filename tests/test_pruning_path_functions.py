"""Paths through functions that fall, saturate or take the largest, and layers that hide them."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")
nn = torch.nn

from sparsecore.pruning import audit  # noqa: E402


class Between(nn.Module):
    """Two layers, of 4 units whose first is fed by nothing, and what is done to them between."""

    def __init__(self, between: Any, width: int) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(3, 4, bias=False), nn.Linear(width, 2, bias=False)
        self.between = between
        with torch.no_grad():
            self.first.weight.copy_(torch.tensor([[0.0], [1], [1], [1]]).expand(4, 3))
            self.last.weight.fill_(1.0)

    def forward(self, x: Any) -> Any:
        return self.last(self.between(self.first(x)))


@pytest.mark.parametrize(
    "falls",
    [lambda h: 1 / h, torch.reciprocal, lambda h: nn.functional.hardtanh_(h).sigmoid_()],
    ids=["over", "reciprocal", "in place"],
)
def test_functions_that_fall_or_saturate_hand_on(falls: Any) -> None:
    model = Between(falls, 4)
    with torch.no_grad():
        model.last.weight[:, 3] = 0
    first, last = audit(model, torch.ones(1, 3)).layers
    assert (first.kept, first.connected, last.kept, last.connected) == (9, 6, 6, 4)


@pytest.mark.parametrize(
    "largest",
    [
        torch.maximum,
        lambda a, b: torch.stack([a, b]).amax(0),
        lambda a, b: torch.stack([a, b]).max(0)[0],
    ],
    ids=["maximum", "amax", "max"],
)
def test_what_is_not_the_largest_is_on_a_path_too(largest: Any) -> None:
    # Of units 1 and 3 the first has twice the flow.
    model = Between(lambda h: largest(h[:, :2] + h[:, :2], h[:, 2:]), 2)
    first, last = audit(model, torch.ones(1, 3)).layers
    assert (first.connected, last.connected) == (9, 4)


@pytest.mark.parametrize("layer", [nn.LSTM, nn.GRU, nn.RNN])
def test_recurrent_layers_whose_gates_would_hide_paths_are_refused(layer: Any) -> None:
    model = Between(layer(4, 4), 4)
    model.between.register_forward_hook(lambda _, __, outputs: outputs[0])
    with pytest.raises(
        ValueError, match=rf"paths through nn\.{layer.__name__}.* cannot be followed"
    ):
        audit(model, torch.ones(1, 3))
    model.between = nn.RNN(4, 4, nonlinearity="relu", bias=False)
    model.between.register_forward_hook(lambda _, __, outputs: outputs[0])
    assert [part.connected for part in audit(model, torch.ones(1, 3)).layers] == [9, 8]


def test_an_empty_batch_is_refused() -> None:
    with pytest.raises(ValueError, match="example_inputs give an output without numbers"):
        audit(nn.Linear(3, 2), torch.ones(0, 3))
