"""nn/accuracy.py: how far the outputs move, and what is refused for it."""

import dataclasses
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from linear_layers import prune_  # noqa: E402
from sparsecore.nn import CSRLinear, sparsify_  # noqa: E402
from sparsify_cases import FAST_CSR, FakeTimer, Wrapped, kinds, mlp  # noqa: E402


@pytest.mark.parametrize(
    ("dtype", "accumulator"),
    [
        (torch.float64, torch.float64),
        (torch.float32, torch.float32),
        (torch.float16, torch.float32),
        (torch.bfloat16, torch.float32),
    ],
    ids=str,
)
def test_outputs_agree_in_every_dtype(dtype: Any, accumulator: Any) -> None:
    model = mlp(64, 64, 64, 8).to(dtype)
    x = torch.randn(7, 64).to(dtype)
    with torch.no_grad():
        before = model(x)
        report = sparsify_(model, x, policy="always")
        after = model(x)
    assert report.choices == {"0": "csr", "2": "csr", "4": "csr"}
    allowed = 66 * torch.finfo(accumulator).eps + torch.finfo(dtype).eps
    assert all(0 <= layer.error <= allowed for layer in report.layers)
    assert report.max_error <= 3 * allowed
    moved = (after.double() - before.double()).abs().max() / before.double().abs().max()
    assert report.max_error == pytest.approx(moved.item())


def test_a_layer_that_is_off_by_more_than_allowed_stays_dense() -> None:
    model = mlp(64, 64, 64)
    report = sparsify_(model, torch.randn(2, 64), policy="always", max_error=0.0)
    assert kinds(model) == [nn.Linear, nn.Linear]
    assert all("where 0 is allowed" in layer.why for layer in report.layers)


def test_wrong_kernels_are_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    right = CSRLinear.forward

    def wrong(self: Any, x: Any) -> Any:
        y = right(self, x)
        y.view(-1)[-1] *= 1 + 1e-3
        return y

    monkeypatch.setattr(CSRLinear, "forward", wrong)
    model = mlp(16, 4)
    report = sparsify_(model, torch.randn(3, 16), timer=FakeTimer(FAST_CSR))
    assert report.choices == {"0": "dense"}
    assert "csr is off by" in report.layers[0].why
    assert report.layers[0].seconds == {}


def test_nan_and_infinite_weights_agree() -> None:
    model = mlp(16, 8)
    with torch.no_grad():
        model[0].weight[0, 0] = torch.nan
        model[0].weight[1, 1] = torch.inf
    report = sparsify_(model, torch.randn(3, 16), policy="always")
    assert report.choices == {"0": "csr"}


@dataclasses.dataclass
class Output:
    scores: Any
    extra: Any


def test_outputs_of_any_structure_are_compared() -> None:
    def forward(m: Any, x: Any) -> Any:
        y = m.fc(x)
        return Output(scores=(y, [y.argmax()]), extra={"sum": float(y.sum()), "none": None})

    model = Wrapped(forward, fc=prune_(nn.Linear(64, 64)))
    report = sparsify_(model, torch.randn(2, 64), policy="always")
    assert 0 < report.max_error < 1e-5
