"""nn/shrink.py: what is removed from models of each kind, to the exact sizes."""

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("torch_pruning", reason="shrink_ needs torch-pruning (extra structured)")

import torch.nn.functional as F  # noqa: E402
from torch import Tensor, nn  # noqa: E402

from shrink_cases import (  # noqa: E402
    ConvNet,
    Residual,
    negative_bias,
    reasons,
    seeded,
    shrunk,
    sizes,
    unread,
    zero,
)
from sparsecore.bench.models.transformer import BertLayer  # noqa: E402
from sparsecore.nn import shrink_  # noqa: E402


@pytest.mark.parametrize("activation", [nn.ReLU(), nn.GELU(), nn.SiLU(), nn.Dropout()])
def test_hidden_units_that_are_constant_or_unread_go(activation: nn.Module) -> None:
    model = seeded(nn.Sequential(nn.Linear(5, 7), activation, nn.Linear(7, 4)))
    zero(model[0], 1, 6)
    unread(model[2], 3)
    report = shrunk(model, 5)
    assert sizes(report) == {"0": (5, 4), "2": (4, 4)}
    assert (report.parameters_before, report.parameters_after) == (42 + 32, 24 + 20)
    assert (report.macs_before, report.macs_after) == (2 * (35 + 28), 2 * (20 + 16))
    assert report.removed == 3
    assert report.left == ()


def test_what_is_removed_leaves_others_dead_until_nothing_is_left() -> None:
    linear = nn.Linear
    model = seeded(nn.Sequential(linear(3, 6), nn.ReLU(), linear(6, 5), nn.ReLU(), linear(5, 2)))
    unread(model[4], 0, 1, 2)
    with torch.no_grad():
        model[2].weight[3:, :2] = 0  # read by the units 0, 1 and 2 alone
    assert sizes(shrunk(model, 3)) == {"0": (3, 4), "2": (4, 2), "4": (2, 2)}
    model = seeded(nn.Sequential(linear(3, 4), nn.ReLU(), linear(4, 5), nn.ReLU(), linear(5, 2)))
    zero(model[0], 0, 1)
    with torch.no_grad():
        model[2].weight[4, 2:] = 0  # reads the constants of the units 0 and 1 alone
    assert sizes(shrunk(model, 3)) == {"0": (3, 2), "2": (2, 4), "4": (4, 2)}


def test_filters_before_a_flattened_picture_take_all_its_columns() -> None:
    model = seeded(ConvNet())
    zero(model.conv2, 0, 3)
    assert sizes(shrunk(model, 2, 8, 8)) == {"conv1": (2, 6), "conv2": (6, 3), "fc": (48, 3)}
    assert model.bn2.num_features == 3
    assert model.bn2.running_var.shape == (3,)


def test_a_residual_sum_keeps_channels_that_one_branch_still_gives() -> None:
    model = seeded(Residual())
    first, middle, last = model.blocks
    zero(first.conv2, 1)
    zero(middle.conv1, 0)
    negative_bias([middle.bn1], 0)
    report = shrunk(model, 2, 6, 6)
    assert sizes(report)["blocks.1.conv1"] == (4, 5)
    assert sizes(report)["stem"] == (2, 4)
    assert "together with what stem gives" in reasons(report)["blocks.0.conv2", 1]

    for dead in (middle.conv2, middle.project[0], last.conv2):
        zero(dead, 5)
    negative_bias([middle.bn2, middle.project[1], last.bn2], 5)
    report = shrunk(model, 2, 6, 6)
    assert sizes(report)["blocks.1.project.0"] == (4, 5)
    assert sizes(report)["blocks.2.conv1"] == (5, 6)
    assert sizes(report)["blocks.2.conv2"] == (6, 5)
    assert sizes(report)["fc"] == (5, 3)


def test_a_depthwise_convolution_goes_with_its_channels() -> None:
    conv, norm = nn.Conv2d, nn.BatchNorm2d
    model = seeded(
        nn.Sequential(
            *(conv(2, 6, 1), norm(6), nn.ReLU(), conv(6, 6, 3, padding=1, groups=6), norm(6)),
            *(nn.ReLU(), conv(6, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)),
        )
    )
    zero(model[0], 2)
    negative_bias([model[1]], 2)
    zero(model[3], 4)  # the channel is a constant behind it, whatever the first layer gives
    report = shrunk(model, 2, 5, 5)
    assert sizes(report) == {"0": (2, 4), "3": (4, 4), "6": (4, 4), "9": (4, 2)}
    assert model[3].groups == 4


class Dense(nn.Module):
    """Each layer reads all that came before; the last one a picture that was enlarged, too."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(6, 3, 3, padding=1)
        self.up, self.c = nn.ConvTranspose2d(3, 5, 2, stride=2), nn.Conv2d(11, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.cat([x, F.relu(self.a(x))], 1)
        small = F.max_pool2d(F.relu(self.b(y)), 2)
        out: Tensor = self.c(torch.cat([self.up(small), y], 1))
        return out


def test_concatenated_channels_keep_their_places() -> None:
    model = seeded(Dense())
    unread(model.b, 2 + 1)
    unread(model.c, 5 + 2 + 1, 3)
    zero(model.a, 3)
    with torch.no_grad():
        model.a.bias[3] = -1.0
    report = shrunk(model, 2, 6, 6)
    assert sizes(report) == {"a": (2, 2), "b": (4, 3), "up": (3, 4), "c": (8, 2)}


def test_the_feed_forward_part_of_a_transformer() -> None:
    torch.manual_seed(0)
    model = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).double().eval()
    zero(model.linear1, *range(5))
    unread(model.linear2, 9)
    zero(model.linear2, 2)
    report = shrunk(model, 3, 8)
    assert sizes(report)["linear1"] == (8, 10)
    assert sizes(report)["linear2"] == (10, 8)
    assert "depends on it as a whole" in reasons(report)["linear2", 2]


def test_a_layer_of_bert_loses_hidden_units_and_no_others() -> None:
    model = seeded(BertLayer(8, 2))
    zero(model.grow, 1, 30)
    for layer in (model.query, model.value, model.output):
        zero(layer, 3)
    report = shrunk(model, 3, 8)
    assert sizes(report)["grow"] == (8, 30)
    assert sizes(report)["shrink"] == (30, 8)
    assert report.removed == 2
    assert set(reasons(report)) == {("query", 3), ("value", 3), ("output", 3)}


def test_what_a_shrunk_model_is() -> None:
    def build() -> nn.Module:
        model = seeded(ConvNet()).train()
        zero(model.conv2, 0, 3)
        model.conv2.weight.requires_grad_(False)
        model.bn1.eval()
        return model

    model, x = build(), torch.randn(2, 2, 8, 8, dtype=torch.float64)
    kept, modes = model.conv1.weight, [m.training for m in model.modules()]
    state, statistics = torch.get_rng_state(), model.bn1.running_mean.clone()
    report = shrink_(model, (x,))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(model.bn1.running_mean, statistics)
    assert [m.training for m in model.modules()] == modes
    assert [n for n, p in model.named_parameters() if not p.requires_grad] == ["conv2.weight"]
    assert model.conv1.weight is kept
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert "conv2  6         5 -> 3\n" in str(report)
    assert str(report).count("parameters: ") == 1
    twin = build()
    assert shrink_(twin, {"x": x}) == report
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.zero_()
    twin.load_state_dict(model.state_dict())
    assert torch.equal(twin.eval()(x), model.eval()(x))
    model(x).sum().backward()
    assert shrink_(model, x).removed == 0
