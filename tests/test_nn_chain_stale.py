"""Chains of a model that changes after it was converted: they run what is there now."""

import copy
import io
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402
from torch.nn.modules.module import register_module_forward_hook  # noqa: E402

from chain_cases import (  # noqa: E402
    block,
    chained,
    check,
    conv,
    converted,
    images,
    linear,
    native_calls,
    stack,
)
from sparsecore.nn import CSRConv2d, load_checkpoint_, save_checkpoint  # noqa: E402


def ready() -> tuple[Any, Tensor, Tensor]:
    """Return a converted stack that ran, an input and what it gave."""
    model, x = converted(stack(), images()), images()
    return model, x, check(model, x, native=1)[0]


def halve(model: Any) -> None:
    with torch.no_grad():
        model[0].bias.mul_(0.5)


def replace_bias(model: Any) -> None:
    model[3].bias = nn.Parameter(torch.arange(4.0))


def assign_data(model: Any) -> None:
    model[3].bias.data = torch.arange(4.0)


def drop_bias(model: Any) -> None:
    model[5].bias = None


def exchange(model: Any) -> None:
    model[3] = CSRConv2d.from_dense(conv(4, 4, 5)).prepare_()


def load_state(model: Any) -> None:
    state = model.state_dict()
    model.load_state_dict({k: v * 3 if v.is_floating_point() else v for k, v in state.items()})


def retrain(model: Any) -> None:
    model[0].restore_()
    with torch.no_grad():
        model[0].values.add_(1)
    model[0].prepare_()


def pool_more(model: Any) -> None:
    model[2].kernel_size = 3


CHANGES: dict[str, tuple[Callable[[Any], object], bool]] = {  # and whether the chain goes on
    "bias in place": (halve, True),
    "another bias": (replace_bias, True),
    "bias.data": (assign_data, True),
    "no bias": (drop_bias, True),
    "activation": (lambda m: setattr(m[0], "activation", None), True),
    "plan.update": (lambda m: m[0]._plan.update(m[0]._plan.unpack() * 2), True),
    "restore_ and prepare_": (retrain, True),
    "restore_": (lambda m: m[0].restore_(), False),
    "load_state_dict": (load_state, True),
    "a layer": (exchange, True),
    "a dense layer": (lambda m: m.__setitem__(3, conv(4, 4, 5)), False),
    "a layer becomes an identity": (lambda m: m.__setitem__(0, nn.Identity()), True),
    "a pool": (lambda m: m.__setitem__(2, nn.AvgPool2d(2, 1)), False),
    "a pool's options": (pool_more, True),
    "the forward of an instance": (lambda m: setattr(m[3], "forward", lambda x: x * 2), False),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_is_seen(name: str) -> None:
    change, goes_on = CHANGES[name]
    model, x, before = ready()
    change(model)
    (after,) = check(model, x, native=int(goes_on))
    assert name == "restore_" or not (after.shape == before.shape and torch.equal(after, before))


def test_a_parent_is_exchanged() -> None:
    model = converted(nn.Sequential(block(), conv()), images())
    (before,) = check(model, images(), native=1)
    other = copy.deepcopy(model[0])
    halved = other.c1.bias.detach() * 0.5 - 1
    other.c1.bias = nn.Parameter(halved)
    model[0] = other
    (after,) = check(model, images(), native=1)
    assert not torch.equal(after, before)


def test_an_identity_is_exchanged() -> None:
    """The shortcut of a block."""
    model = converted(nn.Sequential(conv(), block(), conv()), images())
    (before,) = check(model, images(), native=1)
    model[1].short = nn.Tanh()
    (after,) = check(model, images(), native=0)
    assert not torch.equal(after, before)


@pytest.mark.parametrize("place", [0, 2, 5])
@pytest.mark.parametrize("kind", ["register_forward_hook", "register_forward_pre_hook"])
def test_hooks_of_layers_and_pools(place: int, kind: str) -> None:
    model, x, before = ready()
    seen: list[nn.Module] = []
    hook = getattr(model[place], kind)(lambda module, *_: seen.append(module))
    with torch.no_grad(), native_calls() as calls:
        assert torch.equal(model(x), before)
    assert (seen, calls) == ([model[place]], [])
    hook.remove()
    check(model, x, native=1)
    assert len(seen) == 1


def test_hooks_of_all_modules() -> None:
    model, x, before = ready()
    seen: list[type] = []
    hook = register_module_forward_hook(lambda module, *_: seen.append(type(module)))
    try:
        with torch.no_grad():
            assert torch.equal(model(x), before)
    finally:
        hook.remove()
    assert [seen.count(kind) for kind in (CSRConv2d, nn.MaxPool2d)] == [3, 1]
    check(model, x, native=1)


def saved_and_loaded(model: Any) -> Any:
    buffer = io.BytesIO()
    torch.save(model, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=False)


COPIES: dict[str, Callable[[Any], Any]] = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda model: pickle.loads(pickle.dumps(model)),
    "torch.save": saved_and_loaded,
}


@pytest.mark.parametrize("name", COPIES)
def test_copies_have_chains_of_their_own(name: str) -> None:
    model, x, before = ready()
    other = COPIES[name](model)
    with torch.no_grad(), native_calls() as calls:
        assert torch.equal(other(x), before)
        halve(other)
        assert not torch.equal(other(x), before)
        assert torch.equal(model(x), before)
    assert len(calls) == 3
    with torch.no_grad():
        assert torch.equal(copy.copy(model)(x), before)


def test_checkpoints(tmp_path: Path) -> None:
    model, x, before = ready()
    save_checkpoint(tmp_path / "model.safetensors", model)
    fresh = stack().eval()
    load_checkpoint_(tmp_path / "model.safetensors", fresh)
    assert chained(fresh) == chained(model)
    assert torch.equal(check(fresh, x, native=1)[0], before)


def test_another_dtype_or_mode() -> None:
    model, x, before = ready()
    (wide,) = check(model.to(torch.float64), x.double(), native=1)
    assert torch.allclose(wide, before.double(), atol=1e-5)
    check(model.to(torch.bfloat16), x.bfloat16(), native=0)  # pools of narrow numbers are torch's
    model = converted(nn.Sequential(linear(), nn.ReLU(), linear()), images(3, 8))
    check(model.to(torch.bfloat16).train(), images(3, 8).bfloat16(), native=1)
