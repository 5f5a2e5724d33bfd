"""nn/sparsify.py: choices that are given, carried out as they are, saved and replayed."""

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from linear_layers import prune_, prune_24_  # noqa: E402
from sparsecore.nn import CSRLinear, Sparse24Linear, load_choices, save_choices, sparsify_  # noqa: E402
from sparsify_cases import FAST_CSR, FakeTimer, kinds, mlp, of  # noqa: E402


def test_choices_are_carried_out_and_other_layers_stay_dense() -> None:
    model = nn.Sequential(*(prune_24_(nn.Linear(8, 8)) for _ in range(4)))
    timer = FakeTimer(FAST_CSR)
    report = sparsify_(
        model, torch.randn(2, 8), policy={"0": "csr", "1": "2:4", "2": "dense"}, timer=timer
    )
    assert kinds(model) == [CSRLinear, Sparse24Linear, nn.Linear, nn.Linear]
    assert timer.asked == []
    assert list(report.choices.values()) == ["csr", "2:4", "dense", "dense"]
    assert of(report, "0").why == "it was given"
    assert of(report, "3").why == "the given choices do not name it"


def test_choices_beside_the_policy_are_neither_measured_nor_taken_back() -> None:
    model = mlp(8, 8, 8, 8)
    timer = FakeTimer(FAST_CSR, [(1.0, 2.0)])
    report = sparsify_(model, torch.randn(2, 8), choices={"0": "csr", "2": "dense"}, timer=timer)
    assert timer.asked == [["dense", "csr"], *[["dense", "sparse"]] * 3]
    assert report.choices == {"0": "csr", "2": "dense", "4": "dense"}
    assert (report.seconds_before, report.seconds_after) == (1.0, 2.0)


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ("fastest", "policy is 'fastest', expected 'measured', 'always' or a mapping"),
        ({"0": "coo"}, "policy has 'coo' for layer '0', expected one of 'dense', 'csr', '2:4'"),
        ({"9": "csr"}, "'9', which is no nn.Linear or nn.Conv2d of the model"),
        ({"1": "csr"}, "'1', which is no nn.Linear or nn.Conv2d of the model"),
        ({"0": "csr", "2": "2:4"}, r"layer '2'.*row 0.*group 0"),
        ({"4": "csr"}, "layer '4' cannot become csr: it has hooks"),
    ],
)
def test_choices_that_cannot_be_carried_out_change_nothing(policy: Any, message: str) -> None:
    model = mlp(8, 8, 8, 8)
    model[4].register_forward_hook(lambda *_: None)
    before = list(model)
    with pytest.raises(ValueError, match=message):
        sparsify_(model, torch.randn(2, 8), policy=policy)
    assert list(model) == before


# ---- saved, and replayed ----


def test_a_measured_report_is_replayed_from_a_file(tmp_path: Path) -> None:
    gains = iter([1.0, -1.0, 1.0])
    timer = FakeTimer(lambda _: {"dense": 5.0, "csr": 5.0 - next(gains)})
    first, second = mlp(8, 8, 8, 8), mlp(8, 8, 8, 8)
    x = torch.randn(2, 8)
    report = sparsify_(first, x, timer=timer)
    save_choices(tmp_path / "choices.json", report)
    replayed = sparsify_(second, x, policy=load_choices(tmp_path / "choices.json"))
    assert replayed.choices == report.choices == {"0": "csr", "2": "dense", "4": "csr"}
    assert kinds(second) == kinds(first)
    assert torch.equal(second(x), first(x))


def test_a_fresh_zero_model_takes_the_choices_and_then_the_state() -> None:
    model = nn.Sequential(prune_(nn.Linear(8, 8)), nn.ReLU(), prune_24_(nn.Linear(8, 8)))
    x = torch.ones(2, 8)
    report = sparsify_(model, x, policy={"0": "csr", "2": "2:4"})
    fresh = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8))
    with torch.no_grad():
        for layer in (fresh[0], fresh[2]):
            layer.weight.zero_()
    sparsify_(fresh, x, policy=report.choices)
    fresh.load_state_dict(model.state_dict())
    assert [type(fresh[at]) for at in (0, 2)] == [CSRLinear, Sparse24Linear]
    assert torch.equal(fresh(x), model(x))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "choices.json is not JSON"),
        ("[1]", "is a list, expected a mapping"),
        ('{"fc": "coo"}', "'coo' for layer 'fc'"),
        ('{"fc": ["csr"]}', "for layer 'fc'"),
    ],
)
def test_a_file_that_holds_no_choices(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "choices.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        load_choices(path)


def test_choices_that_are_none_are_not_saved(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'sparse' for layer 'fc'"):
        save_choices(tmp_path / "choices.json", {"fc": "sparse"})
    assert not (tmp_path / "choices.json").exists()
