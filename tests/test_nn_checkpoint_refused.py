"""nn/checkpoint_load.py: models that are not those of the file, and files that lie about them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

import hypothesis.strategies as st  # noqa: E402
from hypothesis import given  # noqa: E402
from hypothesis import settings as hypothesis_settings  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402
from torch import nn  # noqa: E402

import sparsecore as sc  # noqa: E402
from file_cases import flipped  # noqa: E402
from format_cases import EXAMPLES_SHARE_FIXTURES  # noqa: E402


def net(**conv: Any) -> nn.Sequential:
    """Return a convolution with what can be fused with it, and a linear layer."""
    layers = nn.Conv2d(2, 4, 3, **conv), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten()
    return nn.Sequential(*layers, nn.Linear(4 * 4, 8)).eval()


CONTENT: dict[bool, bytes] = {}


def saved(path: Path, *, fused: bool = True) -> bytes:
    """Save a pruned net, converted once for all tests."""
    if fused not in CONTENT:
        torch.manual_seed(0)
        model = net()
        for layer in (model[0], model[4]):
            with torch.no_grad():
                layer.weight.masked_fill_(torch.rand(layer.weight.shape) < 0.7, 0)
        choices = {"0": "csr", "4": "csr"}
        x = torch.randn(1, 2, 4, 4)
        sc.nn.sparsify_(model, x, policy=choices, trainable=not fused)
        sc.nn.save_checkpoint(path, model)
        CONTENT[fused] = path.read_bytes()
    path.write_bytes(CONTENT[fused])
    return CONTENT[fused]


def changed(model: nn.Sequential, change: Callable[[nn.Sequential], object]) -> nn.Sequential:
    change(model)
    return model


def same_as_before(model: nn.Module, before: dict[str, Any]) -> bool:
    after = dict(model.named_modules())
    return list(after) == list(before) and all(after[n] is m for n, m in before.items())


OTHERS = {
    "stride": (lambda: net(stride=2), "'0' is ConvGeometry.*stride=\\(2, 2\\).* in the model"),
    "kind": (
        lambda: nn.Sequential(nn.Linear(2, 4)),
        "'0' is a Linear in the model, expected nn.Co",
    ),
    "missing": (lambda: net()[:4], "the model has no layer '4', which is csr"),
    "shape": (
        lambda: changed(net(), lambda n: n.register_module("4", nn.Linear(3, 8))),
        "'4' has a w",
    ),
    "subclass": (
        lambda: changed(net(), lambda n: n.register_module("4", Own(16, 8))),
        "'4' cannot become csr: it is a Own",
    ),
    "hooks": (
        lambda: changed(net(), lambda n: n[4].register_forward_hook(print)),
        "'4' cannot become csr: it has hooks",
    ),
    "activation": (
        lambda: changed(net(), lambda n: n.register_module("2", nn.SiLU())),
        "cannot be fused as the saved one was: '0' differs",
    ),
    "watched": (
        lambda: changed(net(), lambda n: n.register_forward_hook(print)),
        "cannot be fused as the saved one was",
    ),
    "no bias": (
        lambda: changed(net(), lambda n: n.register_module("4", nn.Linear(16, 8, bias=False))),
        "the model has no '4.bias'",
    ),
    "one more": (
        lambda: changed(net(), lambda n: n.append(nn.Linear(8, 1))),
        "the file lacks the model's '5.bias' and 1 more",
    ),
    "dtype": (lambda: net().double(), "'0.bias' is float32 .* in the file, float64"),
    "meta": (lambda: net().to("meta"), "'0.weight' is on meta, expected the CPU"),
}


class Own(nn.Linear):
    pass


@pytest.mark.parametrize(("make", "message"), OTHERS.values(), ids=OTHERS)
def test_another_model_stays_as_it_was(tmp_path: Path, make: Any, message: str) -> None:
    path = tmp_path / "m.safetensors"
    saved(path)
    model = make()
    before, state = (
        dict(model.named_modules()),
        {n: t.clone() for n, t in model.state_dict().items()},
    )
    with pytest.raises(ValueError, match=rf"(?s)m\.safetensors: .*{message}"):
        sc.nn.load_checkpoint_(path, model)
    assert same_as_before(model, before)
    assert "forward" not in vars(model)
    for name, tensor in model.state_dict().items():
        assert tensor.is_meta or torch.equal(tensor, state[name])


@pytest.mark.parametrize(
    ("name", "tensor", "message"),
    [
        ("4.indices", torch.full((1,), 3), "layer '4'"),
        ("4.values", torch.ones(1, dtype=torch.int32), "layer '4': its values are torch.int32"),
        ("0.indptr", torch.tensor([0, 1, 1, 1, 9]), "layer '0'.*9"),
        ("0.bias", torch.ones(5), r"'0.bias' is float32 \(5,\) in the file, float32 \(4,\) in the"),
    ],
)
def test_tensors_that_do_not_fit(
    tmp_path: Path, name: str, tensor: torch.Tensor, message: str
) -> None:
    path = tmp_path / "m.safetensors"
    saved(path)
    metadata = sc.load_checkpoint(path).files.metadata[path]
    save_file(load_file(path) | {name: tensor}, path, metadata=dict(metadata))
    model = net()
    before = dict(model.named_modules())
    with pytest.raises(ValueError, match=rf"(?s)m\.safetensors: .*{message}"):
        sc.nn.load_checkpoint_(path, model)
    assert same_as_before(model, before)


@given(data=st.data())
@hypothesis_settings(EXAMPLES_SHARE_FIXTURES, max_examples=60)
def test_damaged_bytes(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(flipped(data, saved(path)))
    try:
        sc.nn.load_checkpoint_(path, net())
    except ValueError as error:
        assert str(path) in str(error)  # noqa: PT017 - a fault is allowed, not demanded


def test_a_model_that_is_sparse_otherwise(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    saved(path, fused=False)
    model = net()
    sc.nn.load_checkpoint_(path, model)
    saved(path)
    with pytest.raises(ValueError, match=r"'0' is .* in the model, .* in the file"):
        sc.nn.load_checkpoint_(path, model)


class Counting(nn.Module):
    def get_extra_state(self) -> int:
        return 3


def test_what_cannot_be_saved(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    with pytest.raises(TypeError, match="a int under '_extra_state', expected a tensor"):
        sc.nn.save_checkpoint(path, Counting())
    with pytest.raises(TypeError, match=r"'weight' is on the meta device"):
        sc.nn.save_checkpoint(path, nn.Linear(2, 2, device="meta"))
    model = nn.Module()
    model.register_buffer("x", torch.eye(2).to_sparse())
    with pytest.raises(TypeError, match=r"'x' has layout torch.sparse_coo"):
        sc.nn.save_checkpoint(path, model)
    assert not path.exists()
