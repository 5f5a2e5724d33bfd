"""nn/stored_values.py: layers whose values are stored narrower than they compute."""

import copy
import io
import pickle
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

import conv_layers  # noqa: E402
import linear_layers  # noqa: E402
import sparsecore as sc  # noqa: E402
from linear_layers import generator, pruned_24  # noqa: E402
from sparsecore.nn import CSRConv2d, CSRLinear, Sparse24Linear  # noqa: E402
from stored_cases import FORMS, round_  # noqa: E402

CASES = [(CSRLinear, False), (CSRLinear, True), (Sparse24Linear, False)]
CASES += [(CSRConv2d, False), (CSRConv2d, True)]


def a_dense(kind: Any, **options: Any) -> Any:
    """Return a dense layer with a row of zeros, one of tiny numbers, and one of a single number."""
    dense = conv_layers.pruned(padding=1, **options) if kind is CSRConv2d else pruned_24(36, 8)
    with torch.no_grad():
        dense.bias.copy_(torch.linspace(-1, 1, 8))
        dense.weight[3] = 0
        dense.weight[4] *= 1e-20
        dense.weight[5].flatten()[1:] = 0
    return dense


def inputs(kind: Any) -> Any:
    return conv_layers.images() if kind is CSRConv2d else torch.randn(5, 36, generator=generator(1))


def stored(kind: Any, form: Any, prepared: bool = False) -> Any:
    layer = kind.from_dense(a_dense(kind), values=form)
    return layer.prepare_(5) if prepared else layer


# ---- numbers ----


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("kind", "prepared"), CASES)
def test_a_layer_runs_as_its_rounded_weight(kind: Any, prepared: bool, form: Any) -> None:
    layer, dense = stored(kind, form, prepared), round_(a_dense(kind), form)
    check = conv_layers if kind is CSRConv2d else linear_layers
    check.check_forward(layer, dense, inputs(kind))
    back = layer.to_dense()
    assert back.weight.dtype == back.bias.dtype == torch.float32
    torch.testing.assert_close(back.weight, dense.weight, rtol=2e-7, atol=0)
    assert f"dtype=float32, values={form}, " in repr(layer)
    other = kind.from_dense(a_dense(kind))
    entries = other.values.numel()
    saved = entries * (3 if form == "int8" else 2) - (32 if form == "int8" else 0)
    if not prepared:
        layer(inputs(kind)), other(inputs(kind))
        assert other.nbytes - layer.nbytes == saved
    else:
        assert layer.nbytes < other.prepare_(5).nbytes
    if form == "int8":
        before, layer.scale = layer.nbytes, torch.empty(0)
        assert before - layer.nbytes == 4 * 8


def test_int8_rounds_to_the_nearest_of_255_steps_of_a_row() -> None:
    layer = stored(CSRLinear, "int8")
    W = a_dense(CSRLinear).weight.detach().double()
    off = (layer.to_dense().weight.double() - W).abs()
    steps = W.abs().amax(1) / 127
    assert torch.all(off.amax(1) <= 0.5000001 * steps)
    assert off.amax() > 0.3 * steps.amax()
    assert layer.scale.dtype == torch.float32
    torch.testing.assert_close(layer.scale.double()[[0, 4]], steps[[0, 4]], rtol=1e-7, atol=0)
    assert layer.scale[3] == 1
    assert int(layer.values.abs().max()) == 127


def test_rows_too_small_for_a_normal_scale_keep_what_digits_they_can() -> None:
    linear = nn.Linear(2, 1, dtype=torch.float64)
    with torch.no_grad():
        linear.weight.copy_(torch.tensor([[1e-310, 3e-37]], dtype=torch.float64))
    layer = CSRLinear.from_dense(linear, values="int8")
    assert layer.scale.item() == torch.finfo(torch.float32).smallest_normal
    assert layer.values.tolist() == [0, 26]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("kind", "prepared"), CASES)
def test_gradients_reach_input_and_bias(kind: Any, prepared: bool, form: Any) -> None:
    layer, dense = stored(kind, form, prepared), round_(a_dense(kind), form)
    x, other = (inputs(kind).requires_grad_() for _ in range(2))
    layer(x).square().sum().backward()
    dense(other).square().sum().backward()
    torch.testing.assert_close(x.grad, other.grad, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(layer.bias.grad, dense.bias.grad, rtol=1e-4, atol=1e-4)
    names = [name for name, _ in layer.named_parameters()]
    assert ("values" in names) == (form != "int8" and not prepared)
    assert not any(p.grad is None for p in layer.parameters())


# ---- as modules ----


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("kind", "prepared"), CASES)
def test_copies_casts_and_states(kind: Any, prepared: bool, form: Any) -> None:
    layer, x = stored(kind, form, prepared), inputs(kind)
    y, text = layer(x), repr(layer)
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer)), layer.share_memory()):
        assert torch.equal(twin(x), y)
    file = io.BytesIO()
    torch.save(layer.state_dict(), file)
    file.seek(0)
    sizes = (4, 8, 3, 1, 1) if kind is CSRConv2d else (36, 8)
    fresh = kind(*sizes, values=form)
    assert fresh.load_state_dict(torch.load(file, weights_only=True)) == ([], [])
    assert torch.equal(fresh(x), (layer.restore_() if prepared else layer)(x))
    if prepared:
        layer.prepare_(5)
    assert repr(layer.float()) == text
    assert torch.equal(layer(x), y)
    model = nn.Sequential(layer).requires_grad_(False).requires_grad_()
    assert all(p.requires_grad for p in model.parameters())
    wide = copy.deepcopy(layer).double()
    assert ("values=int8" in repr(wide)) == (form == "int8")
    torch.testing.assert_close(wide(x.double()).float(), y, rtol=1e-5, atol=1e-5)
    assert wide.to_dense().weight.dtype == torch.float64
    if form == "int8":
        assert wide.scale.dtype == torch.float32
        assert copy.deepcopy(layer).half().float().scale.tolist() == layer.scale.tolist()


@pytest.mark.parametrize(
    ("form", "change", "message"),
    [
        ("int8", {"scale": torch.ones(7)}, r"scale has shape \(7,\), expected \(8,\)"),
        ("int8", {"scale": torch.ones(8, dtype=torch.int8)}, "scale is int8, expected float32"),
        ("int8", {"scale": torch.tensor([1.0] * 7 + [torch.nan])}, "row 7 is nan"),
        ("int8", {"scale": torch.tensor([1.0, 0.0] + [1.0] * 6)}, "row 1 is 0.0"),
        ("int8", {"scale": torch.tensor([-1.0] * 8)}, "row 0 is -1.0"),
        ("int8", {"scale": torch.tensor([torch.inf] * 8)}, "row 0 is inf"),
        ("int8", {"scale": [1.0] * 8}, "scale is a list"),
        ("int8", {"values": torch.ones(8, 18)}, "float32 in the state, int8 in the layer"),
        (None, {"values": torch.ones(8, 18, dtype=torch.int8)}, "made with values='int8'"),
        ("bfloat16", {"scale": torch.ones(8)}, "a layer without int8 values does not"),
    ],
)
def test_states_of_another_kind_are_refused_and_change_nothing(
    form: Any, change: Any, message: str
) -> None:
    layer = stored(Sparse24Linear, form)
    before = copy.deepcopy(layer.state_dict())
    with pytest.raises(RuntimeError, match=message):
        layer.load_state_dict({**before, **change}, strict=False)
    assert all(torch.equal(layer.state_dict()[name], before[name]) for name in before)
    if form == "int8":
        del before["scale"]
        with pytest.raises(RuntimeError, match=r"Missing key.*scale"):
            layer.load_state_dict(before)


def test_a_compiled_and_an_autocast_layer_give_the_same() -> None:
    for kind, prepared in ((Sparse24Linear, False), (CSRConv2d, False), (CSRConv2d, True)):
        layer, x = stored(kind, "int8", prepared), inputs(kind)
        model = torch.compile(layer, fullgraph=True, backend="eager")
        assert torch.equal(model(x), layer(x))
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(layer(x), layer.float()(x))


def test_int8_values_are_left_out_of_sparse_training() -> None:
    layer = stored(CSRLinear, "int8")
    model = nn.Sequential(layer, sc.nn.CSRLinear.from_dense(pruned_24(8, 4)))
    dst = sc.pruning.RigL(model, torch.optim.SGD(model.parameters(), 0.1), total_steps=10, every=5)
    assert list(dst.nnz()) == ["1"]
    none = torch.empty(0, dtype=torch.int64)
    with pytest.raises(ValueError, match="int8 values, which do not train"):
        sc.nn.regrow_(layer, drop=none, grow=none)
