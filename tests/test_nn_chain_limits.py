"""Chains of what does not fit them, in threads and processes, and interrupted."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

torch = pytest.importorskip("torch")

import torch.nn.functional as F  # noqa: E402
from torch import Tensor, nn  # noqa: E402

from chain_cases import (  # noqa: E402
    MODELS,
    apart,
    apart_of,
    check,
    check_dense,
    conv,
    converted,
    images,
    linear,
)
from child import output  # noqa: E402
from sparsify_cases import Wrapped  # noqa: E402

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
    for call in (model, lambda y: apart_of(model, y)):
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


def test_two_towers_of_different_sizes() -> None:
    class Towers(nn.Module):
        def __init__(self, left: nn.Module, right: nn.Module) -> None:
            super().__init__()
            self.left, self.right = left, right

        def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
            return F.relu(self.left(x)), F.relu(self.right(y))

    model = Towers(linear(), linear(8, 5))
    for shapes in (((3, 8), (3, 8)), ((3, 8), (2, 4, 8)), ((0, 8), (2, 8))):
        sparse = converted(model, *(images(*shape) for shape in shapes))
        check(sparse, *(images(*shape) for shape in shapes), native=int(shapes[1] == (3, 8)))
    model = Towers(conv(), conv(4, 2))
    sparse = converted(model, images(), images())
    check(sparse, images(0, 4, 5, 5), images(3, 4, 5, 5), native=0)
    check(sparse, images(3, 4, 9, 5), images(3, 4, 5, 5), native=1)


@pytest.mark.parametrize(
    "pool",
    [
        lambda y: F.max_pool2d(y, 2, ceil_mode=True),
        lambda y: F.max_pool2d(y, 2, dilation=2),
        lambda y: F.max_pool2d(y, 3, 1, return_indices=True)[0],
        lambda y: F.max_pool2d(y, y.size()[2:]),
        lambda y: F.max_pool2d(y, y.shape[2] - 1),
        lambda y: F.avg_pool2d(y, 2),
    ],
    ids=["ceil", "dilated", "indices", "global", "computed", "average"],
)
def test_other_pools_stay_outside(pool: Callable[[Tensor], Tensor]) -> None:
    layers = [conv(), nn.ReLU(), conv(), Wrapped(lambda _, y: pool(y)), conv(kernel=1), conv()]
    check_dense(nn.Sequential(*layers), images(), chained_layers=4, native=2)


# ---- threads, processes, signals ----


@pytest.mark.parametrize("name", MODELS)
def test_threads_call_one_model(name: str) -> None:
    model, x = MODELS[name]
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
interrupt = lambda: (time.sleep(0.2), os.kill(os.getpid(), signal.SIGINT))
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
