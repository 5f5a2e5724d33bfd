"""Models whose layers follow one another, converted for running, and calls of them compared."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from linear_layers import generator
from sparsecore import _core
from sparsecore.nn import sparsify_
from sparsecore.nn.fused_forward import FusedForward
from sparsify_cases import Wrapped


def pruned(layer: Any, seed: int = 0) -> Any:
    """Give a layer random weights, of which three in five are zero."""
    draw = generator(seed)
    with torch.no_grad():
        layer.weight.copy_(torch.randn(layer.weight.shape, generator=draw))
        layer.weight[torch.rand(layer.weight.shape, generator=draw) < 0.6] = 0
        first = layer.weight.view(len(layer.weight), -1)[0, :3]
        first[first == 0] = 0.5  # not 2:4, which is not chained
        if layer.bias is not None:
            layer.bias.copy_(torch.randn(layer.bias.shape, generator=draw))
    return layer


def conv(inputs: int = 4, outputs: int = 4, kernel: int = 3, **options: Any) -> nn.Conv2d:
    """Return a pruned convolution that keeps the images' size unless told otherwise."""
    options = {"padding": kernel // 2} | options
    seed = 7 * inputs + outputs + 31 * kernel
    layer: nn.Conv2d = pruned(nn.Conv2d(inputs, outputs, kernel, **options), seed)
    return layer


def linear(inputs: int = 8, outputs: int = 8, **options: Any) -> nn.Linear:
    layer: nn.Linear = pruned(nn.Linear(inputs, outputs, **options), inputs + outputs)
    return layer


def images(*shape: int, seed: int = 5) -> Tensor:
    return torch.randn(shape or (3, 4, 7, 6), generator=generator(seed))


def converted(model: nn.Module, *inputs: Tensor) -> nn.Module:
    """Make a copy of a model sparse and ready for running, its layers chained."""
    model = copy.deepcopy(model).eval()
    sparsify_(model, tuple(x.clone() for x in inputs), policy="always", trainable=False)
    return model


def forwards(model: nn.Module) -> list[FusedForward]:
    return [f for module in model.modules() if isinstance(f := _forward(module), FusedForward)]


def chained(model: nn.Module) -> int:
    """Return how many layers, pools and shortcuts of a model are part of chains."""
    return sum(forward.chained for forward in forwards(model))


def as_tuple(y: Any) -> tuple[Tensor, ...]:
    return y if isinstance(y, tuple) else (y,)


def apart(model: nn.Module, *inputs: Tensor) -> tuple[Tensor, ...]:
    """Return what a model gives when each layer is called by itself; its chains stay."""
    kept = [module for module in model.modules() if isinstance(_forward(module), FusedForward)]
    chains = [_forward(module) for module in kept]
    for module, chain in zip(kept, chains, strict=True):
        vars(module)["forward"] = FusedForward.of(module, chain._graph)
        vars(module)["forward"].channels_last = chain.channels_last
    try:
        return as_tuple(model(*[x.clone() for x in inputs]))
    finally:
        for module, chain in zip(kept, chains, strict=True):
            vars(module)["forward"] = chain


def apart_of(model: Any, x: Any) -> Tensor:
    """As `apart`, of x itself."""
    return apart(Wrapped(lambda m, _: m.model(x), model=model), torch.empty(0))[0]


def _forward(module: nn.Module) -> Any:
    return vars(module).get("forward")


@contextmanager
def native_calls() -> Iterator[list[int]]:
    """Yield a list that grows with each chain that the core runs to its end."""
    calls: list[int] = []
    real = _core.run_chain

    def counted(*arguments: Any) -> Any:
        result = real(*arguments)
        calls.append(1)
        return result

    _core.run_chain = counted
    try:
        yield calls
    finally:
        _core.run_chain = real


def check(model: nn.Module, *inputs: Tensor, native: int | None = None) -> tuple[Tensor, ...]:
    """Assert that chained layers give the bits of the same called alone; return the outputs.

    `native`: how many chains the core has to run for it.
    """
    with torch.no_grad():
        want = apart(model, *inputs)
        with native_calls() as calls:
            got = as_tuple(model(*[x.clone() for x in inputs]))
    assert native is None or len(calls) == native, f"{len(calls)} chains ran, not {native}"
    assert len(got) == len(want)
    for one, other in zip(got, want, strict=True):
        assert (one.dtype, one.shape, one.stride()) == (other.dtype, other.shape, other.stride())
        assert torch.equal(one.nan_to_num(nan=7.5), other.nan_to_num(nan=7.5))
    return got


def check_dense(model: nn.Module, *inputs: Tensor, chained_layers: int, native: int = 1) -> None:
    """Convert a model, and compare it with itself called layer by layer, and dense in float64."""
    sparse = converted(model, *inputs)
    assert chained(sparse) == chained_layers
    got = check(sparse, *inputs, native=native)
    with torch.no_grad():
        want = as_tuple(copy.deepcopy(model).double().eval()(*[x.double() for x in inputs]))
    tolerance = {torch.float64: 1e-11, torch.float32: 2e-4, torch.float16: 0.03}
    for one, other in zip(got, want, strict=True):
        largest = max([1.0, *other.abs().flatten().tolist()])
        assert torch.allclose(
            one.double(), other, rtol=0, atol=tolerance.get(one.dtype, 0.2) * largest
        )


# ---- models ----


def basic_block(m: Any, x: Tensor) -> Tensor:
    y = F.relu(m.n1(m.c1(x)))
    return F.relu(m.n2(m.c2(y)) + m.short(x))


def norm(channels: int) -> nn.BatchNorm2d:
    bn = nn.BatchNorm2d(channels)
    with torch.no_grad():
        for tensor, seed in ((bn.weight, 1), (bn.bias, 2), (bn.running_var, 3)):
            tensor.copy_(torch.rand(channels, generator=generator(seed)) + 0.5)
    return bn


def option_a(_: Any, x: Tensor) -> Tensor:
    return F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 2, 2))


SHORTCUTS: dict[str, Callable[[], nn.Module]] = {
    "option A": lambda: Wrapped(option_a),
    "1 x 1": lambda: nn.Sequential(conv(4, 8, 1, stride=2, bias=False), norm(8)),
}


def block(stride: int = 1, short: nn.Module | None = None) -> nn.Module:
    """Return a block of a residual network: 4 channels become 8 where it has a stride."""
    outputs = 4 * stride
    parts = {"c1": conv(4, outputs, stride=stride, bias=False), "n1": norm(outputs)}
    parts |= {"c2": conv(outputs, outputs, bias=False), "n2": norm(outputs)}
    return Wrapped(basic_block, **parts, short=short or nn.Identity())


def stack() -> nn.Sequential:
    """Return three convolutions and a pool, one chain of four."""
    layers = [conv(), nn.ReLU(), nn.MaxPool2d(2, 1), conv(), nn.ReLU(), conv(4, 6, 1)]
    return nn.Sequential(*layers)


def mlp() -> nn.Module:
    def forward(m: Any, x: Tensor) -> Tensor:
        y = F.relu(m.a(x))
        return m.c(F.relu(m.b(y) + y))

    return Wrapped(forward, a=linear(), b=linear(), c=linear(8, 3))


# Converted, with an input.
MODELS: dict[str, tuple[Any, Tensor]] = {
    "images": (converted(nn.Sequential(conv(), block(), *stack()), images()), images()),
    "rows": (converted(mlp(), images(5, 8)), images(5, 8)),
}
