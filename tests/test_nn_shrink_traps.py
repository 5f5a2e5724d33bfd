"""nn/shrink.py: constants that a bias can take, others that it cannot, and what only looks dead."""

from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("torch_pruning", reason="shrink_ needs torch-pruning (extra structured)")

import torch.nn.functional as F  # noqa: E402
from torch import Tensor, nn  # noqa: E402

from shrink_cases import ConvNet, reasons, seeded, shrunk, sizes, unread, zero  # noqa: E402
from sparsecore.bench.models.resnet import ResNet20  # noqa: E402

# ---- constants ----


def test_a_constant_stays_where_the_next_convolution_pads_with_zeros() -> None:
    model = seeded(ConvNet(padding=1))
    zero(model.conv1, 2)
    report = shrunk(model, 2, 8, 8)
    assert sizes(report)["conv1"] == (2, 6)
    assert "zeros beyond the edge" in reasons(report)["conv1", 2]


def test_a_constant_goes_into_a_bias_that_was_not_there() -> None:
    model = seeded(ConvNet(padding=0))
    zero(model.conv1, 2)
    norm, conv = model.bn1, model.conv2
    spread = (norm.running_var[2] + norm.eps).sqrt()
    constant = F.silu(
        norm.bias[2] + norm.weight[2] * (model.conv1.bias[2] - norm.running_mean[2]) / spread
    )
    expected = constant * conv.weight[:, 2].sum((1, 2))
    assert expected.abs().min() > 1e-3
    report = shrunk(model, 2, 8, 8)
    assert sizes(report) == {"conv1": (2, 5), "conv2": (5, 5), "fc": (20, 3)}
    torch.testing.assert_close(conv.bias, expected, rtol=1e-12, atol=1e-12)
    assert report.parameters_after == report.parameters_before - (2 * 9 + 1) - 2 - 5 * 9 + 5


EDGE, VARIES, GOES = "zeros beyond the edge", "2.1 reads it, and gets no constant", ""


@pytest.mark.parametrize(
    ("second", "why"),
    [
        (nn.Conv2d(3, 2, 3, padding=1), EDGE),
        (nn.Conv2d(3, 2, 3, padding="same"), EDGE),
        (nn.Conv2d(3, 2, 3, padding="valid"), GOES),
        (nn.Conv2d(3, 2, 3, padding=1, padding_mode="circular"), GOES),
        (nn.ConvTranspose2d(3, 2, 3), EDGE),
        (nn.Sequential(nn.AvgPool2d(3, 1, padding=1), nn.Conv2d(3, 2, 3)), VARIES),
        (nn.Sequential(nn.ZeroPad2d(1), nn.Conv2d(3, 2, 3)), VARIES),
        (nn.Sequential(nn.MaxPool2d(3, 1, padding=1), nn.Conv2d(3, 2, 3)), GOES),
    ],
)
def test_what_happens_at_the_edge_decides(second: nn.Module, why: str) -> None:
    model = seeded(nn.Sequential(nn.Conv2d(2, 3, 3), nn.GELU(), second))
    zero(model[0], 1)
    report = shrunk(model, 2, 7, 7)
    assert sizes(report)["0"] == (2, 3 if why else 2)
    assert why in reasons(report).get(("0", 1), "")
    with torch.no_grad():  # a constant of zero is what padding gives, too
        model[0].bias[1] = 0.0
    assert sizes(shrunk(model, 2, 7, 7))["0"] == (2, 2)


def test_a_batch_norm_that_multiplies_by_zero_gives_a_constant() -> None:
    model = seeded(nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 2)))
    zero(model[1], 0, 5)
    assert sizes(shrunk(model, 4)) == {"0": (4, 4), "3": (4, 2)}


# ---- what only looks dead ----


def test_a_unit_that_the_example_does_not_wake_is_not_dead() -> None:
    model = seeded(nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2)))
    with torch.no_grad():
        model[0].bias[3] = -100.0
    assert shrunk(model, 4).removed == 0


class Between(nn.Module):
    """Two layers with a function between them."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.a, self.function, self.b = nn.Linear(4, 6), function, nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.b(self.function(self.a(x)))
        return y


@pytest.mark.parametrize(
    "function",
    [
        nn.LayerNorm(6),
        nn.Softmax(-1),
        lambda y: y * torch.sigmoid(y.mean(-1, keepdim=True)),
        lambda y: y - y.amax(-1, keepdim=True),
        lambda y: torch.where(y.sum(-1, keepdim=True) > 0, y, -y),
        lambda y: torch.cumsum(y, -1),
        lambda y: y.view(-1, 6).flip(-1) + y,
        lambda y: y.view(-1, 3, 2).transpose(1, 2).reshape(-1, 6),
        lambda y: F.pad(y[:, :5], (1, 0)),
    ],
)
def test_an_unread_unit_stays_where_something_else_depends_on_it(function: Any) -> None:
    model = seeded(Between(function))
    unread(model.b, 2)
    report = shrunk(model, 4)
    assert sizes(report) == {"a": (4, 6), "b": (6, 2)}
    assert ("a", 2) in reasons(report)


def test_a_unit_that_is_added_to_the_models_input_stays() -> None:
    class Added(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 2, 1)

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.b(x + self.a(x))
            return y

    model = seeded(Added())
    zero(model.a, 1)
    why = reasons(shrunk(model, 3, 5, 5))["a", 1]
    assert why == "it goes together with a channel of the model's input"


def test_random_numbers_are_no_constants() -> None:
    model = seeded(Between(lambda y: y + torch.rand(1, 6, dtype=y.dtype) * 1e-14))
    zero(model.a, 2)
    assert shrunk(model, 4).removed == 0


def test_resnet20s_shortcut_shifts_channels_which_the_graph_does_not_know() -> None:
    model = seeded(ResNet20())
    for block in (*model.layer1, *model.layer2, *model.layer3):
        zero(block.conv1, 1, 4)
        zero(block.conv2, 0)
        with torch.no_grad():
            block.bn1.bias[1], block.bn1.running_mean[1], block.bn1.weight[1] = -1.0, 0.0, 1.0
            block.bn1.bias[4], block.bn1.running_mean[4], block.bn1.weight[4] = 0.5, 0.0, 1.0
            block.bn1.running_mean[0] = 0.1
    report = shrunk(model, 3, 8, 8)
    found, why = sizes(report), reasons(report)
    for stage, width in ((1, 16), (2, 32), (3, 64)):
        assert found[f"layer{stage}.1.conv1"] == (width, width - 1)
        assert found[f"layer{stage}.1.conv2"] == (width - 1, width)
        assert "zeros beyond the edge" in why[f"layer{stage}.1.conv1", 3]
        assert (f"layer{stage}.1.conv2", 0) in why
    assert report.removed == 9
