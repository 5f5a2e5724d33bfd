"""pruning/structured/filters.py: counts, what stays whole and why, what is refused and undone."""

import copy
import sys
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("torch_pruning", reason="prune_filters_ needs torch-pruning")

import torch.nn.functional as F  # noqa: E402
from torch import Tensor, nn  # noqa: E402
from torch.nn.utils import parametrizations  # noqa: E402

from shrink_cases import ConvNet, seeded  # noqa: E402
from sparsecore.nn import cutting, sparsify_  # noqa: E402
from sparsecore.pruning import prune, scores  # noqa: E402
from sparsecore.pruning.structured import prune_filters_  # noqa: E402
from sparsecore.pruning.structured.channel_groups import ChannelGroup  # noqa: E402
from sparsecore.pruning.structured.filter_scores import kept_channels  # noqa: E402
from structured_cases import bottlenecks, inputs, lost, mobile, pruned, sizes  # noqa: E402

# ---- how many, and which ----


@pytest.mark.parametrize(
    ("sparsity", "kept"), [(0.0, 8), (0.1, 8), (0.2, 6), (0.6, 4), (0.7, 2), (0.99, 2)]
)
def test_counts_are_the_nearest_that_two_groups_can_have(sparsity: float, kept: int) -> None:
    model = seeded(bottlenecks(2))
    prune_filters_(model, inputs(1, 2, 2, 8, 8), {"1.conv1": sparsity})
    assert model[1].conv1.out_channels == model[1].conv2.in_channels == kept


def test_every_class_keeps_its_best_wherever_its_channels_are() -> None:
    group = ChannelGroup((), (), (0, 1, 0, 1, 1, 0))
    channel_score = torch.tensor([5.0, 1, 4, 2, 1, 3])
    assert kept_channels(group, channel_score, 2) == [0, 3]
    assert kept_channels(group, channel_score, 4) == [0, 1, 2, 3]


def test_sensitive_layers_are_left_out_by_where_and_scores_may_be_of_filters() -> None:
    model = seeded(ConvNet())

    def last_is_least(weights: Any) -> dict[str, Tensor]:
        assert list(weights) == ["conv2.weight"]
        return {name: -torch.arange(len(w)).double() for name, w in weights.items()}

    options = {"where": lambda name, _: name.startswith("conv2"), "score": last_is_least}
    report = pruned(model, 2, 8, 8, sparsity=0.4, **options)
    assert lost(report)["conv2.weight"] == [3, 4]
    assert list(report.kept) == ["conv2"]
    model = seeded(ConvNet())
    with torch.no_grad():
        model.conv2.weight.fill_(0.5)  # ties keep the lowest
    report = pruned(model, 2, 8, 8, sparsity={"conv2": 0.4}, score=scores.magnitude)
    assert report.kept == {"conv2": (0, 1, 2)}


# ---- whole ----


class Odd(nn.Module):
    """What stands between two convolutions is given."""

    def __init__(self, between: Any) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(2, 6, 3), nn.Conv2d(6, 4, 1), nn.Conv2d(4, 2, 1)
        self.between = between

    def forward(self, x: Tensor) -> Any:
        return self.c(F.relu(self.b(self.between(self.a(x)))))


@pytest.mark.parametrize(
    ("between", "why"),
    [
        (nn.GroupNorm(2, 6), "a GroupNorm depends on it as a whole"),
        (lambda x: x - x.amax(1, keepdim=True), "b reads it, and gets no constant"),
        (lambda x: x.view(len(x), 6, 3, 3), "without it the model fails"),
        (lambda x: x.exp().mul(1.0), ""),
    ],
)
def test_what_cannot_go_stays_whole_and_the_rest_goes(between: Any, why: str) -> None:
    model = seeded(Odd(between))
    report = pruned(model, 2, 5, 5, sparsity=0.5)
    assert sizes(report)["a"] == (2, 6 if why else 3)
    assert sizes(report)["b"][1] == 2
    assert ("a" in report.whole) == bool(why)
    assert report.whole["c"] == "the model's output has it"
    assert why in report.whole.get("a", "")
    assert "c: whole: the model's output has it" in str(report)


def test_groups_of_one_channel_cannot_lose_any() -> None:
    report = pruned(seeded(mobile(multiplied=True)), 2, 4, 4, sparsity=0.5, where=but("6"))
    assert (sizes(report)["0"], sizes(report)["3"], sizes(report)["9"]) == ((2, 6), (6, 12), (4, 3))
    assert report.whole["0"] == report.whole["3"] == "3 has groups that cannot lose channels"


def but(layer: str) -> Any:
    return lambda name, _: name != f"{layer}.weight"


class Tapped(Odd):
    """The output has the largest of the channels, too, past autograd."""

    def forward(self, x: Tensor) -> Any:
        y = self.a(x)
        return self.c(F.relu(self.b(y))) + y.detach().amax()


def test_what_the_output_depends_on_in_another_way_stays_whole() -> None:
    report = pruned(seeded(Tapped(nn.ReLU())), 2, 5, 5, sparsity=0.5)
    assert report.whole["a"] == "the model's output depends on it in another way"
    assert sizes(report)["b"] == (6, 2)


# ---- refused ----


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({}, ValueError, "got neither of sparsity and kept"),
        ({"sparsity": 0.5, "kept": {"0": 2}}, ValueError, "got both"),
        ({"sparsity": 1.0}, ValueError, "sparsity is 1.0"),
        ({"sparsity": {"x": 0.5}}, ValueError, "sparsity names 'x', expected layers among 0, 1.c"),
        ({"kept": {"x": 1}}, ValueError, "kept names 'x'"),
        ({"kept": {"0": 7}}, ValueError, r"kept\['0'\] is 7, expected 1 to 6"),
        ({"kept": {"0": 2.0}}, TypeError, r"kept\['0'\] is 2.0, expected an integer"),
        ({"kept": {"1.conv2": 5}}, ValueError, "a multiple of 2, such as 4 or 6"),
        ({"kept": {"5": 2}}, ValueError, "'5' cannot lose filters: the model's output has it"),
        ({"kept": {"1.conv3": 4, "2.conv3": 5}}, ValueError, "'2.conv3' is to keep 5 filters, but"),
        ({"kept": {"0": 2}, "where": lambda *_: True}, ValueError, "where= selects layers, and so"),
        ({"sparsity": 0.5, "where": lambda *_: False}, ValueError, "no layer that where= selects"),
        ({"sparsity": 0.5, "leaders": ["fc"]}, ValueError, "leaders names 'fc'"),
        ({"sparsity": 0.5, "score": lambda _: {}}, ValueError, "0.weight got scores of shape None"),
        ({"kept": [3]}, TypeError, "kept is a list, expected a mapping"),
    ],
)
def test_what_it_refuses(options: Any, error: type, message: str) -> None:
    model = seeded(bottlenecks(2))
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(error, match=message):
        prune_filters_(model, inputs(1, 2, 2, 8, 8), **options)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_nan_parametrizations_and_sparse_layers() -> None:
    x = inputs(1, 2, 2, 4, 4)
    model: Any = seeded(mobile())
    with torch.no_grad():
        model[0].weight[0, 0, 0, 0] = torch.nan
    with pytest.raises(ValueError, match=r"score of 0.weight has 1 NaN .* has training diverged"):
        prune_filters_(model, x, 0.5)
    model = seeded(mobile())
    parametrizations.weight_norm(model[6])
    assert "6 cannot be cut: its parameters are param" in prune_filters_(model, x, 0.5).whole["6"]
    prune(model := seeded(mobile()).float(), 0.9)
    sparsify_(model, x.float(), policy="always")
    with pytest.raises(ValueError, match="call prune_filters_ before sparsify_"):
        prune_filters_(model, x.float(), 0.5)


def test_the_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch_pruning", None)
    with pytest.raises(ImportError, match=r"prune_filters_ needs .* 'sparsecore\[structured\]'"):
        prune_filters_(mobile(), inputs(1, 2, 2, 4, 4), 0.5)


@pytest.mark.parametrize("error", [KeyboardInterrupt, None])
def test_what_goes_wrong_is_undone(monkeypatch: pytest.MonkeyPatch, error: Any) -> None:
    right = cutting.cut

    def wrong(module: nn.Module, axis: str, indices: list[int]) -> None:
        if error is not None and axis == "out":
            raise error
        right(module, axis, [0, 1, 2] if axis == "in" else indices)

    monkeypatch.setattr(cutting, "cut", wrong)
    model = seeded(ConvNet())
    before, state = dict(model.named_parameters()), copy.deepcopy(model.state_dict())
    with pytest.raises(error or ValueError, match="outputs differ" if error is None else None):
        prune_filters_(model, inputs(1, 2, 2, 8, 8), kept={"conv1": 3})
    assert all(p is before[name] for name, p in model.named_parameters())
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert model.conv1.out_channels == 6
