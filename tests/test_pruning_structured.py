"""pruning/structured/filters.py: the smaller model computes what the masked one does."""

import copy
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("torch_pruning", reason="prune_filters_ needs torch-pruning")

from torch import nn  # noqa: E402

from shrink_cases import ConvNet, Residual, seeded  # noqa: E402
from sparsecore.bench.models.transformer import BertLayer  # noqa: E402
from sparsecore.nn import shrink_  # noqa: E402
from sparsecore.pruning.structured import prune_filters_  # noqa: E402
from structured_cases import (  # noqa: E402
    DenseBlock,
    bottlenecks,
    inputs,
    lost,
    lowest,
    mobile,
    pruned,
    sizes,
)


def test_filters_of_a_chain_go_with_their_norms_and_the_columns_behind_the_picture() -> None:
    model = seeded(ConvNet())
    first, second = (lowest(n, w) for n, w in ((3, model.conv1.weight), (2, model.conv2.weight)))
    report = pruned(model, 2, 8, 8, sparsity=0.45)
    assert sizes(report) == {"conv1": (2, 3), "conv2": (3, 3), "fc": (48, 3)}
    of_first = ("conv1.weight", "conv1.bias", "bn1.weight", "bn1.bias")
    of_second = ("conv2.weight", "bn2.weight", "bn2.bias")
    assert lost(report) == dict.fromkeys(of_first, first) | dict.fromkeys(of_second, second)
    assert report.kept["conv2"] == tuple(i for i in range(5) if i not in second)
    assert (model.bn1.num_features, model.bn2.running_var.shape) == (3, (3,))
    parameters = sum(p.numel() for p in model.parameters())
    assert report.parameters_after == parameters < report.parameters_before
    assert report.macs_after < report.macs_before
    assert "conv2  6 -> 3    5 -> 3\n" in str(report)
    assert report.whole == {}  # convolutions were asked for, so nothing of the linear layer


def test_basic_blocks_lose_what_a_sum_ties_together() -> None:
    model = seeded(Residual())
    first, middle, last = model.blocks
    narrow = lowest(2, model.stem.weight, first.conv2.weight)
    wide = lowest(3, *(m.weight for m in (middle.conv2, middle.project[0], last.conv2)))
    report = pruned(model, 2, 6, 6, sparsity=0.5)
    assert {layer: kept for layer, (_, kept) in sizes(report).items()} == {
        **dict.fromkeys(["stem", "blocks.0.conv1", "blocks.0.conv2"], 2),
        **dict.fromkeys(["blocks.1.conv1", "blocks.1.conv2", "blocks.1.project.0"], 3),
        **dict.fromkeys(["blocks.2.conv1", "blocks.2.conv2", "fc"], 3),
    }
    found = lost(report)
    assert found["stem.weight"] == found["blocks.0.bn2.weight"] == narrow
    assert found["blocks.1.project.1.bias"] == found["blocks.2.conv2.weight"] == wide


@pytest.mark.parametrize("groups", [1, 2])
def test_bottlenecks_with_and_without_groups(groups: int) -> None:
    model = seeded(bottlenecks(groups))
    inner, outer = model[1].conv1.weight, (model[1].conv3, model[1].shortcut[0], model[2].conv3)
    tied = lowest(3, *(layer.weight for layer in outer))
    halves = [lowest(1, part) for part in inner.chunk(groups)]
    report = pruned(model, 2, 8, 8, sparsity=0.25)
    assert sizes(report)["1.conv2"] == (6, 6)
    assert sizes(report)["2.conv1"] == (9, 6)
    assert model[2].conv2.weight.shape == (6, 6 // groups, 3, 3)
    found = lost(report)
    assert found["1.bn3.weight"] == found["1.shortcut.1.weight"] == found["2.conv3.weight"] == tied
    if groups == 2:
        assert found["1.conv1.weight"] == [halves[0][0], 4 + halves[1][0]]


def test_leaders_decide_for_the_layers_they_are_tied_to() -> None:
    model = seeded(bottlenecks())
    shortcut = lowest(6, model[1].shortcut[0].weight)
    assert shortcut != lowest(6, *(m.weight for m in (model[1].conv3, model[1].shortcut[0])))
    report = pruned(model, 2, 8, 8, sparsity={"2.conv3": 0.5}, leaders=["1.shortcut.0"])
    assert lost(report)["2.conv3.weight"] == lost(report)["1.bn3.bias"] == shortcut
    assert set(report.kept) == {"1.conv3", "1.shortcut.0", "2.conv3"}


def test_concatenated_channels_keep_their_places() -> None:
    model = seeded(DenseBlock())
    stem, conv = lowest(1, model.stem.weight), lowest(2, model.convs[1].weight)
    report = pruned(model, 2, 6, 6, kept={"stem": 3, "convs.1": 3})
    assert sizes(report) == {"stem": (2, 3), "convs.0": (3, 3), "convs.1": (6, 3), "fc": (9, 3)}
    places = [*stem, *(7 + i for i in conv)]
    assert lost(report)["norms.2.weight"] == places
    assert lost(report)["norms.0.weight"] == stem


def test_depthwise_convolutions_follow_their_channels() -> None:
    model = seeded(mobile())
    channels = lowest(3, model[0].weight)
    original = copy.deepcopy(model)
    report = prune_filters_(model, inputs(1, 2, 2, 4, 4), 0.5)
    assert sizes(report) == {"0": (2, 3), "3": (3, 3), "6": (3, 2), "9": (2, 3), "11": (48, 3)}
    assert (model[3].groups, model[4].num_features) == (3, 3)
    assert lost(report)["3.weight"] == lost(report)["4.bias"] == channels
    with torch.no_grad():
        for name, mask in report.masks.items():
            original.get_parameter(name).mul_(mask)
        gone = [i for i in range(4) if i not in report.kept["6"]]
        original[7].running_mean[gone] = 0.0  # a BatchNorm without parameters gives 0 of 0 then
        x = inputs(2, 3, 2, 4, 4)
        torch.testing.assert_close(model(x), original(x), rtol=1e-11, atol=1e-11)


def test_hidden_units_of_transformers() -> None:
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).double().eval()
    units = lowest(8, layer.linear1.weight)
    report = pruned(layer, 3, 8, sparsity=0.5, where=lambda name, _: name == "linear1.weight")
    assert sizes(report)["linear1"] == (8, 8)
    assert lost(report) == {"linear1.weight": units, "linear1.bias": units}
    report = pruned(seeded(BertLayer(8, 2)), 3, 8, kept={"grow": 10})
    assert (sizes(report)["grow"], sizes(report)["shrink"]) == ((8, 10), (10, 8))


class Gated(nn.Module):
    """A convolution whose channels are multiplied by what linear layers make of their means."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.down, self.up = nn.Conv2d(2, 8, 3), nn.Linear(8, 3), nn.Linear(3, 8)
        self.fc = nn.Linear(8, 2)

    def forward(self, x: Any) -> Any:
        x = self.conv(x)
        gate = torch.sigmoid(self.up(torch.relu(self.down(x.mean((2, 3))))))
        return self.fc((x * gate[:, :, None, None]).mean((2, 3)))


def test_a_gate_goes_with_the_channels_that_it_multiplies() -> None:
    report = pruned(seeded(Gated()), 2, 5, 5, sparsity=0.5)
    assert sizes(report) == {"conv": (2, 4), "down": (4, 3), "up": (3, 4), "fc": (4, 2)}


def test_what_sigmoid_makes_of_a_masked_filter_goes_into_the_bias() -> None:
    model = seeded(nn.Sequential(nn.Conv2d(2, 6, 3), nn.Sigmoid(), nn.Conv2d(6, 2, 3, bias=False)))
    report = pruned(model, 2, 7, 7, sparsity=0.5)
    assert sizes(report) == {"0": (2, 3), "2": (3, 2)}
    assert model[2].bias is not None


def test_masked_only_and_shrunk_afterwards_is_the_same_model() -> None:
    model = seeded(bottlenecks())
    other = copy.deepcopy(model)
    before, x = list(map(id, model.parameters())), inputs(1, 2, 2, 8, 8)
    report = pruned(model, 2, 8, 8, sparsity=0.5, remove=False)
    assert list(map(id, model.parameters())) == before
    assert sizes(report)["1.conv2"] == (8, 8)
    shrink_(model, x)
    prune_filters_(other, x, 0.5)
    assert [p.shape for p in model.parameters()] == [p.shape for p in other.parameters()]
    torch.testing.assert_close(model(x), other(x), rtol=1e-11, atol=1e-11)


def test_masks_of_weights_alone_are_taken_out_by_shrink() -> None:
    model = seeded(ConvNet(padding=0))
    with torch.no_grad():
        filters = lowest(2, model.conv2.weight)
        model.conv2.weight[filters] = 0.0  # whole slices of axis 0
        channels = lowest(3, model.conv2.weight.transpose(0, 1))
        model.conv2.weight[:, channels] = 0.0  # whole slices of axis 1: nobody reads these filters
    original, others = copy.deepcopy(model), inputs(2, 3, 2, 8, 8)
    report = shrink_(model, inputs(1, 2, 2, 8, 8))
    after = {layer.name: layer.after for layer in report.layers}
    assert after == {"conv1": (2, 3), "conv2": (3, 3), "fc": (12, 3)}
    torch.testing.assert_close(model(others), original(others), rtol=1e-11, atol=1e-11)
