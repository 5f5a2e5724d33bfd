"""Where chains must not run in one call, or cannot: torch's modes, bad inputs, threads, signals."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

torch = pytest.importorskip("torch")

import torch.nn.functional as F  # noqa: E402
from torch import Tensor, nn  # noqa: E402
from torch._subclasses import FakeTensorMode  # noqa: E402
from torch.fx.experimental.proxy_tensor import make_fx  # noqa: E402

from chain_cases import (  # noqa: E402
    apart,
    block,
    check,
    conv,
    converted,
    images,
    linear,
    native_calls,
    stack,
)
from child import output  # noqa: E402
from compiling import compiled  # noqa: E402
from sparsify_cases import Wrapped  # noqa: E402


def mlp() -> nn.Module:
    def forward(m: Any, x: Tensor) -> Tensor:
        y = F.relu(m.a(x))
        return m.c(F.relu(m.b(y) + y))

    return Wrapped(forward, a=linear(), b=linear(), c=linear(8, 3))


MODELS: dict[str, tuple[Any, Tensor]] = {
    "images": (converted(nn.Sequential(conv(), block(), *stack()), images()), images()),
    "rows": (converted(mlp(), images(5, 8)), images(5, 8)),
}


@pytest.fixture(params=MODELS)
def case(request: pytest.FixtureRequest) -> tuple[Any, Tensor]:
    """Return a converted model whose parameters need no gradients, and an input."""
    model, x = MODELS[request.param]
    return model.requires_grad_(False), x


def equal(got: Tensor, want: Tensor) -> bool:
    return got.dtype == want.dtype and torch.allclose(got, want, rtol=1e-5, atol=1e-5)


# ---- torch ----


def test_gradients_reach_inputs_and_biases(case: tuple[Any, Tensor]) -> None:
    model, x = case
    bias = next(iter(model.parameters()))
    for inputs in ([x.clone().requires_grad_()], [x, bias]):
        given = inputs[0]
        bias.requires_grad_(len(inputs) == 2)
        with native_calls() as calls:
            got = torch.autograd.grad(model(given).square().sum(), inputs[-1])[0]
        assert not calls
        want = torch.autograd.grad(apart_with_grad(model, given).square().sum(), inputs[-1])[0]
        assert torch.equal(got, want)
        assert got.abs().sum() > 0
        with native_calls() as calls, torch.no_grad():
            model(given)
        assert len(calls) == 1


def apart_with_grad(model: Any, x: Any) -> Tensor:
    """As `apart`, of x itself."""
    return apart(Wrapped(lambda m, _: m.model(x), model=model), torch.empty(0))[0]


def test_inference_mode(case: tuple[Any, Tensor]) -> None:
    model, x = case
    with torch.no_grad():
        want = model(x)
    with torch.inference_mode(), native_calls() as calls:
        y = model(x)
    assert (y.is_inference(), len(calls)) == (True, 1)
    assert torch.equal(y, want)


def test_autocast(case: tuple[Any, Tensor]) -> None:
    model, x = case
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        for given in (x, x.bfloat16()):
            (want,) = apart(model, given)
            assert torch.equal(model(given), want)
            assert want.dtype == torch.float32


def test_layers_of_several_dtypes() -> None:
    """Autocast would bring what a layer reads into its dtype."""
    model = converted(mlp(), images(5, 8))
    model.b.to(torch.bfloat16).bias.data = model.b.bias.data.float()
    for mode in (torch.no_grad(), torch.autocast("cpu", torch.bfloat16)):
        with torch.no_grad(), mode:
            assert torch.equal(model(images(5, 8)), apart(model, images(5, 8))[0])


def test_compile_and_export(case: tuple[Any, Tensor]) -> None:
    model, x = case
    with torch.no_grad():
        want = model(x)
        assert equal(compiled(model)(x), want)
        program = torch.export.export(model, (x,), strict=False)
        assert equal(program.module()(x), want)


def test_traces_and_transforms(case: tuple[Any, Tensor]) -> None:
    model, x = case
    with torch.no_grad():
        want = model(x)
        assert equal(make_fx(model)(x)(x), want)
        assert equal(torch.func.vmap(lambda one: model(one[None])[0])(x), want)
        with FakeTensorMode(allow_non_fake_inputs=True) as mode:
            y = model(mode.from_tensor(x))
    assert (type(y).__name__, y.shape, y.dtype) == ("FakeTensor", want.shape, want.dtype)
    state = {name: p * 2 for name, p in model.named_parameters()}
    got = torch.func.functional_call(model, state, (x,))
    assert not torch.equal(got, want)
    with torch.no_grad():
        assert torch.equal(model(x), want)


# ---- what does not fit ----


BAD: dict[str, tuple[str, Callable[[Tensor], Any]]] = {
    "channels": ("images", lambda x: x[:, :3]),
    "smaller than the pool": ("images", lambda x: x[:, :, :1, :1]),
    "no pixels": ("images", lambda x: x[:, :, :0]),
    "another dtype": ("images", lambda x: x.to(torch.int64)),
    "complex": ("images", lambda x: x.to(torch.complex64)),
    "two dimensions": ("images", lambda x: x[0, 0]),
    "five dimensions": ("images", lambda x: x[None]),
    "another device": ("images", lambda x: x.to("meta")),
    "no tensor": ("images", lambda x: x.numpy()),
    "features": ("rows", lambda x: x[:, :7]),
    "a number": ("rows", lambda _: torch.tensor(1.0)),
    "booleans": ("rows", lambda x: x > 0),
    "sparse": ("rows", lambda x: x.to_sparse()),
}


@pytest.mark.parametrize("name", BAD)
def test_an_error_is_that_of_the_layer(name: str) -> None:
    """Of the same type and words as where the layer is called alone."""
    which, spoil = BAD[name]
    model, x = MODELS[which]
    bad = spoil(x)
    faults = []
    for call in (model, lambda y: apart_with_grad(model, y)):
        with torch.no_grad(), pytest.raises((TypeError, ValueError, RuntimeError)) as fault:
            call(bad)
        faults.append((fault.type, str(fault.value)))
    assert faults[0] == faults[1]
    check(model, x, native=1)


class Residual(nn.Module):
    """Two layers, the second with a residual that comes from outside."""

    def __init__(self, one: nn.Module, two: nn.Module) -> None:
        super().__init__()
        self.one, self.two = one, two

    def forward(self, x: Tensor, r: Tensor) -> Tensor:
        return F.relu(self.two(F.relu(self.one(x))) + r)


@pytest.mark.parametrize("wrong", [(2, 4, 7, 6), (3, 4, 6, 6), (3, 5, 7, 6), (4, 7, 6), (3,)])
def test_residuals_that_do_not_fit(wrong: tuple[int, ...]) -> None:
    model = converted(Residual(conv(), conv()), images(), images())
    check(model, images(), images(), native=1)
    messages = []
    for call in (model, lambda *inputs: apart(model, *inputs)):
        with pytest.raises((ValueError, TypeError), match="residual") as fault, torch.no_grad():
            call(images(), images(*wrong))
        messages.append(str(fault.value))
    assert messages[0] == messages[1]
    with pytest.raises((ValueError, TypeError), match="residual"), torch.no_grad():
        model(images(), images().double())


def test_one_image_without_a_batch() -> None:
    model = converted(nn.Sequential(conv(), nn.ReLU(), conv(4, 6, 1)), images(4, 7, 6))
    check(model, images(4, 7, 6), native=0)
    check(model, images(), native=1)


# ---- threads, processes, signals ----


def test_threads_call_one_model(case: tuple[Any, Tensor]) -> None:
    model, x = case
    inputs = [x + i for i in range(24)]
    with torch.no_grad():
        want = [model(y) for y in inputs]
    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(torch.no_grad()(model), inputs))
    assert all(map(torch.equal, got, want))


CHILD = """
import os, signal, sys, threading, time
import torch
from torch import nn
import sparsecore as sc
signal.signal(signal.SIGINT, signal.default_int_handler)
layers = [nn.Conv2d(16, 16, 3, padding=1) for _ in range(3)]
model = nn.Sequential(layers[0], nn.ReLU(), *layers[1:]).eval().requires_grad_(False)
for layer in layers:
    layer.weight[:, ::2] = 0
x = torch.ones(1, 16, 40, 40)
sc.nn.sparsify_(model, x, policy="always", trainable=False)
assert vars(model)["forward"].chained == 3
sc.set_num_threads(2)
"""


@pytest.mark.skipif(os.name != "posix", reason="forks, and sends a signal")
def test_forks_and_interrupts() -> None:
    printed = output(
        CHILD
        + """
many = x.expand(64, 16, 40, 40)
want = model(many)
pid = os.fork()
if pid == 0:
    os._exit(0 if torch.equal(model(many), want) else 1)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
interrupt = lambda: (time.sleep(0.3), os.kill(os.getpid(), signal.SIGINT))
for threads in (1, 2):
    sc.set_num_threads(threads)
    threading.Thread(target=interrupt).start()
    try:
        model(x.expand(20_000, 16, 40, 40))
        print("ran to its end")
    except KeyboardInterrupt:
        print("interrupted", torch.equal(model(many), want))
"""
    )
    assert printed.split("\n") == ["0", "interrupted True", "interrupted True"]
