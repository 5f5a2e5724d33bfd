"""nn/checkpoint.py, nn/checkpoint_load.py: models saved, and loaded into their classes."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from safetensors.torch import load_file  # noqa: E402
from torch import nn  # noqa: E402

import sparsecore as sc  # noqa: E402
from linear_layers import prune_, prune_24_  # noqa: E402
from sparsecore.nn.fused import FusedConv2d  # noqa: E402


class Residual(nn.Module):
    """Two convolutions with BatchNorms and a residual."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Conv2d(4, 4, 3, padding=1, groups=2, bias=False)
        self.norm = nn.BatchNorm2d(4)
        self.two = nn.Conv2d(4, 4, 3, padding="same", dilation=2)
        self.relu = nn.ReLU()

    def forward(self, x: Any) -> Any:
        return self.relu(self.two(self.relu(self.norm(self.one(x)))) + x)


class Net(nn.Module):
    """Every kind of layer; `head` is tied to `last`, `body` is there twice."""

    def __init__(self, bias: bool = True, width: int = 16) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, stride=2)
        self.body = self.again = Residual()
        self.first = nn.Linear(4, width, bias=bias)
        self.last = nn.Linear(width, 3)
        self.head = nn.Linear(width, 3)
        self.head.weight = self.last.weight

    def forward(self, x: Any) -> Any:
        x = self.again(torch.relu(self.stem(x))).mean((2, 3))
        x = nn.functional.silu(self.first(x))
        return self.last(x) + self.head(x)


CHOICES = {"stem": "csr", "body.one": "csr", "body.two": "csr", "first": "2:4"}
X = torch.randn(2, 3, 9, 9, generator=torch.Generator().manual_seed(0))


def converted(**options: Any) -> nn.Module:
    """Return a pruned Net, made sparse, whose BatchNorm has seen something."""
    torch.manual_seed(1)
    net = Net()
    net(torch.randn(8, 3, 9, 9))
    net.eval()
    with torch.no_grad():
        for conv in (net.stem, net.body.one, net.body.two):
            conv.weight.masked_fill_(torch.rand(conv.weight.shape) < 0.8, 0)
    prune_24_(net.first)
    sc.nn.sparsify_(net, X, policy=options.pop("policy", CHOICES), **options)
    return net


def fresh(seed: int = 2, **options: Any) -> nn.Module:
    torch.manual_seed(seed)
    return Net(**options).eval()


WAYS: dict[str, Callable[[], nn.Module]] = {
    "trainable": converted,
    "fused": lambda: converted(trainable=False),
    "channels_last": lambda: converted(trainable=False, channels_last=True),
    "fused dense": lambda: converted(trainable=False, policy={"first": "csr"}),
    "dense": lambda: fresh(3),
    "half": lambda: converted().to(torch.bfloat16),
    "fused later": lambda: refused(converted()),
}


def refused(net: nn.Module) -> nn.Module:
    """Convert a model a second time, for running; what is sparse is not fused any more."""
    sc.nn.sparsify_(net, X, policy={"last": "dense"}, trainable=False)
    return net


@pytest.mark.parametrize("shard_bytes", [None, 300])
@pytest.mark.parametrize("make", WAYS.values(), ids=WAYS)
def test_a_fresh_model_becomes_what_was_saved(
    tmp_path: Path, make: Callable[[], nn.Module], shard_bytes: int | None
) -> None:
    net = make()
    sc.nn.save_checkpoint(tmp_path / "m.safetensors", net, shard_bytes=shard_bytes)
    other = fresh().to(next(net.parameters()).dtype)
    sc.nn.load_checkpoint_(tmp_path, other)
    x = X.to(next(net.parameters()).dtype)
    assert torch.equal(other(x), net(x))
    assert repr(other) == repr(net)
    assert other.head.weight is other.last.weight
    assert other.body is other.again
    (tmp_path / "again").mkdir()
    sc.nn.save_checkpoint(tmp_path / "again" / "m.safetensors", other, shard_bytes=shard_bytes)
    for file in tmp_path.glob("*.*"):
        assert (tmp_path / "again" / file.name).read_bytes() == file.read_bytes()


def test_the_state_of_a_sparse_model_loads_by_torch_alone(tmp_path: Path) -> None:
    path, net = tmp_path / "m.safetensors", nn.Sequential(prune_(nn.Linear(300, 8)), nn.ReLU())
    other = copy.deepcopy(net)
    for model in (net, other):
        model[0] = sc.nn.CSRLinear.from_dense(model[0])
    with torch.no_grad():
        other[0].values.zero_()
    sc.nn.save_checkpoint(path, net)
    other.load_state_dict(load_file(path))
    assert torch.equal(other[0].values, net[0].values)
    with torch.no_grad():
        other[0].values.zero_()
    sc.nn.load_checkpoint_(path, other)
    assert torch.equal(other[0].values, net[0].values)
    assert {n: t.dtype for n, t in load_file(path).items()} == {
        n: t.dtype for n, t in net.state_dict().items()
    }


def test_without_the_class(tmp_path: Path) -> None:
    net = converted(trainable=False)
    size = sc.nn.save_checkpoint(tmp_path / "m.safetensors", net)
    checkpoint = sc.load_checkpoint(tmp_path / "m.safetensors")
    assert checkpoint.choices == CHOICES | {"last": "dense", "head": "dense"}
    assert checkpoint.header.layers["stem"].geometry == net.stem.geometry
    assert checkpoint["head.weight"].tolist() == net.last.weight.tolist()
    for name in ("stem", "body.one", "again.two", "first"):
        module = net.get_submodule(name)
        W = module.to_dense().weight.detach().flatten(1).numpy()
        np.testing.assert_array_equal(checkpoint[f"{name}.weight"].toarray(), W)
    dense = sum(t.nbytes for n, t in checkpoint.files.entries.items() if "bias" in n or "last" in n)
    assert size.dense == dense
    convs = 4 * 27 + 4 * 18 + 4 * 36
    assert size.original == dense + 4 * (convs + 16 * 4)
    assert size.total == (tmp_path / "m.safetensors").stat().st_size


def test_training_goes_on(tmp_path: Path) -> None:
    sc.nn.save_checkpoint(tmp_path / "m.safetensors", converted())
    net = fresh().train()
    net.first.weight.requires_grad_(False)
    bias = net.first.bias
    sc.nn.load_checkpoint_(tmp_path / "m.safetensors", net)
    assert net.first.bias is bias
    assert net.first.training
    net(X).sum().backward()
    assert net.body.one.values.grad is not None
    assert net.first.values.grad is None


def test_prepared_layers_are_prepared_again(tmp_path: Path) -> None:
    net = nn.Sequential(prune_(nn.Linear(64, 64)))
    net[0] = sc.nn.CSRLinear.from_dense(net[0]).prepare_(8)
    sc.nn.save_checkpoint(tmp_path / "m.safetensors", net)
    other = nn.Sequential(nn.Linear(64, 64))
    sc.nn.load_checkpoint_(tmp_path / "m.safetensors", other)
    assert (other[0]._kernel, other[0]._prepared_for) == (net[0]._kernel, 8)
    assert other[0].nbytes == net[0].nbytes


def test_fused_layers_know_it() -> None:
    net = converted(trainable=False, policy=CHOICES | {"stem": "dense"})
    assert isinstance(net.stem, FusedConv2d)
    assert [net.body.one.fused, net.body.two.fused, net.first.fused] == [True] * 3
    assert converted().body.one.fused is False


def test_float8_and_other_tensors(tmp_path: Path) -> None:
    model = nn.Module()
    model.register_buffer("f8", torch.tensor([1.0, 2.0]).to(torch.float8_e4m3fn))
    model.register_buffer("scalar", torch.tensor(3))
    sc.nn.save_checkpoint(tmp_path / "m.safetensors", model)
    other = copy.deepcopy(model)
    other.f8.zero_()
    sc.nn.load_checkpoint_(tmp_path / "m.safetensors", other)
    assert other.f8.float().tolist() == [1, 2]
