"""`sparsify_` with values stored narrower: errors explained, allowed, reported."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

import sparsecore as sc  # noqa: E402
from linear_layers import prune_, prune_24_  # noqa: E402
from sparsecore.nn import CSRLinear, sparsify_  # noqa: E402
from sparsecore.nn.accuracy import layer_error, random_inputs  # noqa: E402
from sparsecore.nn.layers import Call  # noqa: E402
from sparsify_cases import FAST_24, FAST_CSR, FakeTimer, Wrapped, mlp, of  # noqa: E402
from stored_cases import FORMS, POLICY, Net, X, converted, rounded  # noqa: E402


@pytest.mark.parametrize("form", FORMS)
def test_every_layer_is_stored_so_and_its_error_is_that_of_rounding(form: Any) -> None:
    net, report = converted(form)
    before, dense = Net().eval(), Net().eval()
    assert report.choices == POLICY
    for layer in report.layers:
        assert layer.values == form
        assert f"values={form}" in repr(net.get_submodule(layer.name))
        weight = dense.get_submodule(layer.name).weight
        with torch.no_grad():
            weight.copy_(torch.from_numpy(rounded(weight, form)))
        lost = (before.get_submodule(layer.name).weight - weight).abs() / weight.abs().amax()
        assert 0.01 * lost.max() < layer.error < 40 * lost.max()
    with torch.no_grad():
        torch.testing.assert_close(net(X), dense(X), rtol=1e-4, atol=1e-5)
        moved = (net(X) - before(X)).abs().max() / before(X).abs().max()
    assert report.max_error == pytest.approx(moved.item(), rel=1e-3)
    assert 1e-5 < report.max_error < 0.02
    lines = str(report).splitlines()
    assert lines[0].split()[-3:] == ["choice", "values", "error"]
    assert lines[2].split()[-3:] == ["csr", form, f"{report.layers[0].error:.2g}"]
    assert report.to_dict()["values"] == form


@pytest.mark.parametrize(
    ("activation", "slope"), [(None, 1.0), ("relu", 1.0), ("gelu", 1.129), ("silu", 1.1)]
)
def test_what_rounding_explains_is_taken_off_output_by_output(activation: Any, slope: Any) -> None:
    activated = getattr(nn.functional, activation or "relu")
    dense = prune_(nn.Linear(24, 16))
    dense.activation = activation
    stored = torch.from_numpy(rounded(dense.weight, "int8"))
    call = Call((40, 24), torch.float32, (40, 16))

    def error(share: float) -> Any:
        """Of a layer that is off by so many times what rounding takes."""
        other = copy.deepcopy(dense).double()
        with torch.no_grad():
            other.weight.add_(share * (stored - other.weight))

        def run(x: Any) -> Any:
            y = other(x.double())
            return y if activation is None else activated(y)

        return layer_error(dense, run, call, stored)  # type: ignore[arg-type]

    with torch.no_grad():
        right, wrong = error(1.0), error(-3.0)
    assert 1e-4 < right.error < 0.05
    W, x = dense.weight.detach().double(), random_inputs(call)[0].double()
    with torch.no_grad():
        largest = dense(x.float()) if activation is None else activated(dense(x.float()))
    bound = (x.abs() @ (W - stored).abs().T).max() / largest.abs().max()
    assert right.stored / bound.item() == pytest.approx(slope, rel=1e-3)
    assert right.rest < 1e-6
    if activation is not None:
        z = torch.linspace(-6, 6, 20001, dtype=torch.float64).requires_grad_()
        activated(z).sum().backward()
        assert slope / 1.001 < z.grad.max() <= slope
    assert wrong.error > right.error
    assert wrong.rest > 1e-4


def test_a_wrong_kernel_is_found_out_behind_the_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    right = CSRLinear.forward
    monkeypatch.setattr(CSRLinear, "forward", lambda self, *given: right(self, *given) * 1.05)
    model = mlp(16, 8)
    report = sparsify_(model, torch.randn(3, 16), policy="always", trainable=False, values="int8")
    assert report.choices == {"0": "dense"}
    assert " beyond the rounding to int8, where " in report.layers[0].why


def test_the_error_that_the_user_allows_is_all_of_it() -> None:
    errors = {layer.name: layer.error for layer in converted("int8")[1].layers}
    largest = max(errors, key=lambda name: errors[name])
    _, report = converted("int8", max_error=0.99 * errors[largest])
    why = of(report, largest).why
    assert of(report, largest).choice == "dense"
    assert f" is off by {errors[largest]:.2g}, where {0.99 * errors[largest]:.2g} is" in why
    most = max(errors[largest], converted("int8")[1].max_error)
    assert converted("int8", max_error=1.01 * most)[1].choices == POLICY


def test_a_model_that_makes_more_of_it_than_its_layers_goes_back_to_dense() -> None:
    linear = prune_(nn.Linear(16, 8))
    x = torch.randn(4, 16)
    with torch.no_grad():
        near = linear(x) * 0.999
    model = Wrapped(lambda m, x: m.fc(x) - near, fc=linear)
    report = sparsify_(model, x, policy="always", trainable=False, values="int8")
    assert model.fc is linear
    assert "the model's output differs by" in report.layers[0].why


def test_choices_name_formats_and_the_replay_says_the_values(tmp_path: Path) -> None:
    path = tmp_path / "choices.json"
    sc.nn.save_choices(path, converted("bfloat16")[1])
    assert json.loads(path.read_text()) == POLICY
    net, report = converted("int8", policy=sc.nn.load_choices(path))
    assert report.choices == POLICY
    assert net.one.values.dtype == torch.int8
    _, report = converted(None, policy=sc.nn.load_choices(path))
    assert {layer.values for layer in report.layers} == {"float32"}
    assert "values" not in str(report)


def test_both_formats_are_measured_with_such_values() -> None:
    for seconds, choice in ((FAST_CSR, "csr"), (FAST_24, "2:4")):
        model = nn.Sequential(prune_24_(nn.Linear(16, 8)))
        timer = FakeTimer(seconds)
        report = sparsify_(model, torch.randn(2, 16), trainable=False, values="int8", timer=timer)
        assert report.choices == {"0": choice}
        assert model[0]._values_dtype == torch.int8
        assert timer.asked[0] == ["dense", "csr", "2:4"]


def test_what_cannot_be_stored_so_stays_dense_or_is_refused_where_it_is_asked_for() -> None:
    wide, x = mlp(16, 8).double(), torch.randn(2, 16, dtype=torch.float64)
    report = sparsify_(wide, x, policy="always", trainable=False, values="bfloat16")
    assert "it is float64, and bfloat16 values take float32 inputs" in report.layers[0].why
    with pytest.raises(ValueError, match=r"layer '0': CSRLinear: values cannot be stored as bfl"):
        sparsify_(wide, x, policy={"0": "csr"}, trainable=False, values="bfloat16")
    assert type(wide[0]) is nn.Linear
    sparsify_(wide, x, policy={"0": "csr"}, trainable=False, values="int8")
    assert wide(x).dtype == torch.float64
    with pytest.raises(ValueError, match="values is 'int8', which is for running: give trainable"):
        sparsify_(mlp(16, 8), torch.ones(1, 16), values="int8")
    with pytest.raises(ValueError, match="sparsify_: values is 'int4', expected None or one of"):
        sparsify_(mlp(16, 8), torch.ones(1, 16), trainable=False, values="int4")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("form", "weight", "message"),
    [
        ("int4", torch.eye(2), "values is 'int4', expected None or one of 'bfloat16', 'float16'"),
        ("float16", torch.eye(2) * 1e5, "largest magnitude is 1e[+]05, which float16 does not"),
        ("bfloat16", torch.eye(2, dtype=torch.float64), "float64, and bfloat16 values take float3"),
        ("int8", torch.tensor([[0.0, torch.nan]]), "NaN or Inf, which int8 does not hold"),
    ],
)
def test_weights_that_a_form_does_not_hold_are_refused(
    form: Any, weight: Any, message: str
) -> None:
    linear = nn.Linear(2, len(weight), dtype=weight.dtype)
    linear.weight.data = weight
    with pytest.raises(ValueError, match=message):
        CSRLinear.from_dense(linear, values=form)
