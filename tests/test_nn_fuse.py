"""nn/fuse.py: what follows a layer becomes part of it, and nothing else changes."""

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch")

import torch.nn.functional as F  # noqa: E402
from torch import nn  # noqa: E402

from sparsecore.nn.fuse import fuse  # noqa: E402
from sparsecore.nn.fused import FusedConv2d, FusedLinear  # noqa: E402
from sparsify_cases import Wrapped  # noqa: E402


def norm(channels: int) -> nn.BatchNorm2d:
    """Return a BatchNorm that has seen something, in fp64."""
    bn = nn.BatchNorm2d(channels).double()
    with torch.no_grad():
        for tensor in (bn.weight, bn.bias, bn.running_mean, bn.running_var):
            tensor.copy_(torch.rand(channels) + 0.5)
    return bn


def conv(inputs: int = 3, outputs: int = 3, **options: Any) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1, **options).double()


def x() -> torch.Tensor:
    return torch.randn(2, 3, 5, 4, dtype=torch.float64)


def fused_counts(model: nn.Module, *inputs: torch.Tensor) -> tuple[int, int, int]:
    """Fuse a model, check that its output stays and that all comes back; return what was fused."""
    model.eval()
    before, modules = model(*map(torch.clone, inputs)), list(model.modules())
    attributes = {id(m): dict(vars(m)) for m in modules}
    fusion = fuse(model)
    fusion.put(fused=True)
    after = model(*map(torch.clone, inputs))
    assert torch.allclose(after, before, rtol=1e-12, atol=1e-12)
    fusion.put(fused=False)
    assert list(model.modules()) == modules
    assert {id(m): dict(vars(m)) for m in modules} == attributes
    assert torch.equal(model(*map(torch.clone, inputs)), before)
    return fusion.folded, fusion.added, fusion.activated


def test_a_chain() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(conv(), norm(3), nn.ReLU(), conv(bias=False), norm(3), nn.SiLU(), conv())
    assert fused_counts(model, x()) == (2, 0, 2)
    fuse(model).put(fused=True)
    kinds = [type(m) for m in model]
    plain, silent = nn.Conv2d, nn.Identity
    assert kinds == [FusedConv2d, silent, nn.ReLU, FusedConv2d, silent, nn.SiLU, plain]
    assert [model[0].activation, model[3].activation] == ["relu", "silu"]
    assert model[3].bias is not None


def test_linear_layers() -> None:
    model = nn.Sequential(nn.Linear(4, 5), nn.GELU(), nn.Linear(5, 2), nn.ReLU()).double()
    assert fused_counts(model, torch.randn(2, 3, 4, dtype=torch.float64)) == (0, 0, 2)
    weight = model[0].weight
    fuse(model).put(fused=True)
    assert type(model[0]) is FusedLinear
    assert model[0].weight is weight


def residual_block(m: Any, a: torch.Tensor) -> torch.Tensor:
    y = m.relu(m.n1(m.c1(a)))
    y = m.n2(m.c2(y))
    y += m.short(a)
    return m.relu(y)


RESIDUALS: dict[str, tuple[Callable[[Any, Any], Any], int]] = {
    "as it is": (lambda m, a: F.relu(m.c1(a) + a), 1),
    "the other way": (lambda m, a: torch.relu(a + m.c1(a)), 1),
    "torch.add": (lambda m, a: torch.add(m.c1(a), a).relu(), 1),
    "method": (lambda m, a: m.c1(a).add_(a).relu_(), 1),
    "broadcast": (lambda m, a: F.relu(m.c1(a) + a.mean(dim=(2, 3), keepdim=True)), 1),
    "scaled": (lambda m, a: F.relu(torch.add(m.c1(a), a, alpha=2)), 0),
    "a number": (lambda m, a: F.relu(m.c1(a) + 1), 0),
    "itself": (lambda m, a: (lambda y: y + y)(m.c1(a)), 0),
    "used again": (lambda m, a: (lambda y: (y + a) * y)(m.c1(a)), 0),
}


@pytest.mark.parametrize("name", RESIDUALS)
def test_residuals(name: str) -> None:
    torch.manual_seed(1)
    forward, added = RESIDUALS[name]
    assert fused_counts(Wrapped(forward, c1=conv()), x())[1] == added


def test_a_residual_that_is_computed_after_the_layer() -> None:
    torch.manual_seed(2)
    parts = {"c1": conv(), "n1": norm(3), "c2": conv(), "n2": norm(3), "relu": nn.ReLU(True)}
    model = Wrapped(residual_block, short=nn.Sequential(conv(), norm(3)), **parts)
    assert fused_counts(model, x()) == (3, 1, 2)


def written_between(m: Any, a: torch.Tensor) -> torch.Tensor:
    y = m.c1(a)
    b = a.mul_(2)
    return y + b


def test_a_layer_does_not_wait_until_its_input_was_overwritten() -> None:
    assert fused_counts(Wrapped(written_between, c1=conv()), x()) == (0, 0, 0)


def test_a_residual_that_others_read_is_not_written_to() -> None:
    def forward(m: Any, a: torch.Tensor) -> torch.Tensor:
        b = a * 1
        c = b.exp()
        b.add_(m.c1(a))
        return b + c

    assert fused_counts(Wrapped(forward, c1=conv()), x())[1] == 0


def test_what_is_used_twice_stays() -> None:
    shared = conv()
    model = nn.Sequential(shared, norm(3), nn.ReLU(), shared, nn.ReLU())
    assert fused_counts(model, x()) == (0, 0, 0)
    bn = norm(3)
    assert fused_counts(nn.Sequential(conv(), bn, conv(), bn), x())[0] == 0


@pytest.mark.parametrize("place", [0, 1, 2])
def test_what_has_hooks_stays(place: int) -> None:
    model = nn.Sequential(conv(), norm(3), nn.ReLU())
    model[place].register_forward_hook(lambda *_: None)
    assert fused_counts(model, x()) == [(0, 0, 0), (0, 0, 0), (1, 0, 0)][place]
    model = nn.Sequential(nn.Sequential(conv(), nn.ReLU()))
    model[0].register_forward_pre_hook(lambda *_: None)
    assert fused_counts(model, x()) == (0, 0, 0)


@pytest.mark.parametrize(
    "follower",
    [nn.GELU("tanh"), nn.ReLU6(), nn.BatchNorm2d(3, track_running_stats=False).double()],
    ids=["tanh", "relu6", "no statistics"],
)
def test_other_followers_stay(follower: nn.Module) -> None:
    assert fused_counts(nn.Sequential(conv(), follower), x()) == (0, 0, 0)


def test_children_are_fused_where_the_whole_cannot_be_followed() -> None:
    def forward(m: Any, a: torch.Tensor) -> torch.Tensor:
        return m.part(a) if float(a.sum()) > -1e9 else a

    model = Wrapped(forward, part=nn.Sequential(conv(), norm(3), nn.ReLU()))
    assert fused_counts(model, x()) == (1, 0, 1)


def test_sizes_of_a_shape_are_unpacked_but_not_counted() -> None:
    """A tensor with fewer axes has fewer sizes: what was made of their number would be wrong."""

    def heads(m: Any, a: torch.Tensor) -> torch.Tensor:
        first, second = a.size()[:2]
        y = F.relu(m.part(a)).reshape(*a.shape[:2], 2, -1).transpose(1, 2)
        return y.reshape(first, second, -1)

    def counted(m: Any, a: torch.Tensor) -> torch.Tensor:
        return F.relu(m.part(a)) * len(a.shape[:3])

    a = torch.randn(2, 3, 4, dtype=torch.float64)
    assert fused_counts(Wrapped(heads, part=nn.Linear(4, 6).double()), a) == (0, 0, 1)
    model = Wrapped(counted, part=nn.Linear(4, 6).double())
    assert fused_counts(model, a) == (0, 0, 0)


def test_copies_and_pickles_run_by_themselves() -> None:
    torch.manual_seed(3)
    model = Wrapped(residual_block_of_two, c1=conv(), n1=norm(3)).eval()
    a = x()
    expected = model(a)
    fuse(model).put(fused=True)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.allclose(other(a), expected, rtol=1e-12, atol=1e-12)
        with torch.no_grad():
            other.c1.weight.zero_()
        assert not torch.allclose(other(a), expected)
        assert torch.allclose(model(a), expected, rtol=1e-12, atol=1e-12)
    assert sorted(model.state_dict()) == ["c1.bias", "c1.weight"]


def residual_block_of_two(m: Any, a: torch.Tensor) -> torch.Tensor:
    return F.relu(m.n1(m.c1(a)) + a)


def test_a_submodule_that_is_exchanged_later_is_called() -> None:
    model = Wrapped(residual_block_of_two, c1=conv(), n1=norm(3)).eval()
    fuse(model).put(fused=True)
    a = x()
    model.c1 = Wrapped(lambda _, b: b * 0)
    model.c1.forward = lambda _, residual: residual * 7
    assert torch.equal(model(a), a * 7)


def test_gradients_flow_through_fused_layers() -> None:
    torch.manual_seed(4)
    model = Wrapped(residual_block_of_two, c1=conv(), n1=norm(3)).eval()
    a = x().requires_grad_()
    expected = torch.autograd.grad(model(a).sum(), a)[0]
    fuse(model).put(fused=True)
    assert torch.allclose(torch.autograd.grad(model(a).sum(), a)[0], expected, rtol=1e-12)
