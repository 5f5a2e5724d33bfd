"""nn/shrink.py: what it leaves and says so, what it refuses, and that it undoes what went wrong."""

import sys
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("torch_pruning", reason="shrink_ needs torch-pruning (extra structured)")

from torch import Tensor, nn  # noqa: E402
from torch.nn.utils import parametrizations, prune  # noqa: E402

from shrink_cases import reasons, seeded, shrunk, sizes, unread, zero  # noqa: E402
from sparsecore.nn import cutting, shrink_, sparsify_  # noqa: E402


def mlp() -> Any:
    model = seeded(nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 6), nn.Linear(6, 2)))
    zero(model[0], 1)
    unread(model[3], 2)
    return model


X = torch.linspace(-1, 1, 8, dtype=torch.float64).view(2, 4)


# ---- left ----


def test_the_models_output_keeps_its_units() -> None:
    model = mlp()
    zero(model[3], 0)
    assert reasons(shrunk(model, 4)) == {("3", 0): "the model's output has it"}


def test_a_layer_keeps_one_unit() -> None:
    model = seeded(nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2)))
    zero(model[0], *range(6))
    report = shrunk(model, 4)
    assert sizes(report) == {"0": (4, 1), "2": (1, 2)}
    assert reasons(report) == {("0", 0): "a layer keeps one unit"}


def test_convolutions_with_groups_stay() -> None:
    conv = nn.Conv2d
    model = seeded(nn.Sequential(conv(2, 4, 1), nn.ReLU(), conv(4, 6, 1, groups=2), conv(6, 2, 1)))
    unread(model[2], 1)
    zero(model[2], 0)
    report = shrunk(model, 2, 3, 3)
    assert report.removed == 0
    assert "2 has groups" in reasons(report)["2", 0]


def test_tied_parametrized_and_masked_weights_stay() -> None:
    model = mlp()
    model[3].weight = nn.Parameter(model[3].weight.detach()[:1].expand(6, 6).contiguous())
    model[3].bias = nn.Parameter(torch.zeros(6, dtype=torch.float64))
    model.append(nn.Linear(6, 6).double())
    model[4].weight = model[3].weight
    assert "another module has its Parameter" in reasons(shrunk(model, 4))["2", 2]
    model = mlp()
    parametrizations.weight_norm(model[3])
    assert "parametrized" in reasons(shrunk(model, 4))["2", 2]
    model = mlp()
    prune.custom_from_mask(model[2], "weight", torch.ones(6, 6))
    assert "mask is still applied" in reasons(shrunk(model, 4))["0", 1]


class Counted(nn.Module):
    """Counts on six hidden units, in a way that its caller chooses."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.a, self.function, self.b = nn.Linear(4, 6), function, nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.b(self.function(self.a(x)))
        return y


def test_python_that_counts_on_the_number_of_units_keeps_them() -> None:
    model = seeded(Counted(lambda y: y.view(2, 6)))
    unread(model.b, 2)
    before = dict(model.named_parameters())
    report = shrink_(model, X)
    assert "without it the model fails: RuntimeError" in reasons(report)["a", 2]
    assert all(p is before[name] for name, p in model.named_parameters())
    assert (model.a.out_features, model.b.in_features) == (6, 6)


def test_one_layers_failure_does_not_hold_up_the_others() -> None:
    model = nn.Sequential(seeded(Counted(lambda y: y.view(-1, 6))), *mlp_of_two())
    unread(model[0].b, 2)
    assert sizes(shrunk(model, 4)) == {"0.a": (4, 6), "0.b": (6, 2), "1": (2, 4), "3": (4, 2)}


def mlp_of_two() -> Any:
    model = seeded(nn.Sequential(nn.Linear(2, 5), nn.ReLU(), nn.Linear(5, 2)))
    zero(model[0], 1)
    return model


# ---- undone ----


def test_a_cut_that_changes_the_outputs_is_undone(monkeypatch: pytest.MonkeyPatch) -> None:
    right = cutting.cut

    def wrong(module: nn.Module, axis: str, indices: list[int]) -> None:
        right(module, axis, [0] if axis == "in" else indices)

    monkeypatch.setattr(cutting, "cut", wrong)
    model = mlp()
    before, expected = dict(model.named_parameters()), model(X)
    report = shrink_(model, X)
    assert report.removed == 0
    assert "the outputs differ by" in reasons(report)["0", 1]
    assert all(p is before[name] for name, p in model.named_parameters())
    assert torch.equal(model(X), expected)


def test_an_interruption_leaves_the_model_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    right = cutting.cut

    def interrupted(module: nn.Module, axis: str, indices: list[int]) -> None:
        right(module, axis, indices)
        raise KeyboardInterrupt

    monkeypatch.setattr(cutting, "cut", interrupted)
    model = mlp()
    before = dict(model.named_parameters())
    with pytest.raises(KeyboardInterrupt):
        shrink_(model, X)
    assert all(p is before[name] for name, p in model.named_parameters())
    assert model[0].out_features == 6


# ---- refused ----


def test_sparse_layers_come_afterwards() -> None:
    model = mlp().float()
    sparsify_(model, X.float(), policy="always")
    with pytest.raises(ValueError, match=r"shrink_: layer '0' is a CSRLinear.*before sparsify_"):
        shrink_(model, X.float())


class Acting(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.fc(x)
        return y if y.sum() > 0 else -y


class Silent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            y: Tensor = self.fc(x)
        return y


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (Acting, "cannot be followed: the model's Python reads a value"),
        (Silent, "cannot trace the model.*no tensor of the output has a grad_fn"),
    ],
)
def test_models_that_cannot_be_followed(build: Any, message: str) -> None:
    model = seeded(build())
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(ValueError, match=f"shrink_: .*{message}"):
        shrink_(model, X)
    assert all(torch.equal(before[name], t) for name, t in model.state_dict().items())


def test_bad_arguments_and_a_missing_library(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TypeError, match="shrink_: example_inputs is a list"):
        shrink_(mlp(), [X])
    monkeypatch.setitem(sys.modules, "torch_pruning", None)
    with pytest.raises(ImportError, match=r"pip install 'sparsecore\[structured\]'"):
        shrink_(mlp(), X)
