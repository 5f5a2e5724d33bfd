"""Layers that follow one another run in one call: the bits of each called alone."""

from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch")

import torch.nn.functional as F  # noqa: E402
from torch import Tensor, nn  # noqa: E402

import sparsecore as sc  # noqa: E402
from chain_cases import (  # noqa: E402
    SHORTCUTS,
    block,
    chained,
    check,
    check_dense,
    conv,
    converted,
    images,
    linear,
    norm,
    option_a,
    stack,
)
from sparsify_cases import Wrapped  # noqa: E402

DTYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("short", SHORTCUTS)
def test_blocks_of_residual_networks(dtype: torch.dtype, short: str) -> None:
    x = images(3, 3, 9, 8).to(dtype)
    stem = [conv(3, 4), norm(4), nn.ReLU()]
    model = nn.Sequential(*stem, block(), block(2, SHORTCUTS[short]())).to(dtype)
    check_dense(model, x, chained_layers=7)  # an identity is one, too


@pytest.mark.parametrize("height", [7, 8])
@pytest.mark.parametrize("width", [6, 7])
def test_shortcuts_of_channels_last_images_lie_as_torch_pads_them(height: int, width: int) -> None:
    model = nn.Sequential(conv(4, 4), nn.ReLU(), Wrapped(option_a), conv(8, 8), nn.ReLU())
    sparse = converted(model, images(2, 4, height, width))
    x = images(2, 4, height, width).contiguous(memory_format=torch.channels_last)
    check(sparse, x, native=1)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_linear_layers_with_residuals(dtype: torch.dtype) -> None:
    def forward(m: Any, x: Tensor) -> Tensor:
        y = F.relu(m.a(x))
        y = F.relu(m.b(y) + x)
        return m.d(F.relu(m.c(y) + y))

    layers = {"a": linear(8, 9), "b": linear(9, 8), "c": linear(bias=False), "d": linear(8, 3)}
    model = Wrapped(forward, **layers).to(dtype)
    check_dense(model, images(5, 8).to(dtype), chained_layers=4)
    sparse = converted(model, images(5, 8).to(dtype))
    for lead in ((), (1,), (40,), (2, 3), (0,), (3, 0)):
        check(sparse, images(*lead, 8).to(dtype), native=1)
    check(sparse, images(8, 7).to(dtype).T, native=1)
    check(sparse, images(2, 8, 3).to(dtype).transpose(1, 2), native=1)


@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last], ids=str)
@pytest.mark.parametrize("batch", [0, 1, 2, 171, 301])
def test_batches_that_leave_a_part_of_a_chunk(batch: int, order: torch.memory_format) -> None:
    """With one thread, and with two that share the images; a pixel's sum has one order in all."""
    layers = [conv(3, 16), nn.ReLU(), nn.MaxPool2d(3, 2, 1), conv(16, 16, stride=2), nn.ReLU()]
    model = nn.Sequential(*layers, conv(16, 40, 2, padding=0, stride=2), conv(40, 8, 1))
    x = images(batch, 3, 9, 11).contiguous(memory_format=order)
    sparse = converted(model, x[:2] if batch else x)
    before = sc.get_num_threads()
    try:
        for threads in (1, 2):
            sc.set_num_threads(threads)
            check(sparse, x, native=1)
    finally:
        sc.set_num_threads(before)


@pytest.mark.parametrize("module", [True, False], ids=["module", "function"])
def test_pools(module: bool) -> None:
    """Also where a chain begins with one, and a NaN or an infinity goes through."""
    x = images(2, 4, 9, 8)
    x[0, 1, 4, 4], x[1, 2, 3, 3], x[1, 3] = torch.nan, torch.inf, -torch.inf
    for kernel, stride, padding in ((1, None, 0), (2, None, 1), (3, 2, 1), (4, 3, 2), (5, 1, 2)):
        pool: Any = nn.MaxPool2d(kernel, stride, padding)
        if not module:
            options = (kernel, stride, padding)
            pool = Wrapped(lambda _, y, options=options: F.max_pool2d(y, *options))
        model = nn.Sequential(pool, conv(), nn.ReLU(), pool, conv())
        sparse = converted(model, images(2, 4, 9, 8))
        assert chained(sparse) == 4
        check(sparse, x, native=1)


# What the layers c1 to c4 are called for, how many calls are chained, and in how many chains.
FORWARDS: dict[str, tuple[Callable[[Any, Tensor], Any], int, int]] = {
    "a residual that is an output, too": (
        lambda m, x: (lambda y: (m.c3(F.relu(m.c2(y) + y)), y))(F.relu(m.c1(x))),
        3,
        1,
    ),
    "a broken run, its result a residual of the next": (
        lambda m, x: (lambda y: F.relu(m.c4(m.c3(torch.sigmoid(y))) + y))(m.c2(F.relu(m.c1(x)))),
        4,
        2,
    ),
    "a layer called twice": (lambda m, x: m.c2(m.c2(F.relu(m.c1(x)))), 3, 1),
    "nothing reads a layer's result": (lambda m, x: (m.c2(F.relu(m.c1(x))), m.c3(x))[0], 3, 1),
    "two ways from one input": (lambda m, x: (F.relu(m.c1(x)), m.c2(x), m.c3(x)), 3, 1),
    "its input is an output": (lambda m, x: (x, m.c2(F.relu(m.c1(x)))), 2, 1),
    "a slice that waits for its padding": (
        lambda m, x: (
            lambda y: (lambda s: (m.c3(y), F.pad(s, (0, 0, 0, 0, 1, 2))))(y[:, :, ::2, ::1])
        )(m.c2(F.relu(m.c1(x)))),
        4,
        1,
    ),
    "a slice that waits beyond the run's end": (
        lambda m, x: (
            lambda y: (lambda s: (m.c3(y).sigmoid(), F.pad(s, (0, 0, 0, 0, 1, 2))))(
                y[:, :, ::2, ::2]
            )
        )(m.c2(F.relu(m.c1(x)))),
        3,
        1,
    ),
    "a slice of a pooled input": (
        lambda m, x: (
            m.c2(F.relu(m.c1(x))),
            F.pad(F.max_pool2d(x, 2)[:, :, ::2, ::2], (0, 0, 0, 0, 1, 0)),
        ),
        3,
        1,
    ),
    "the residual is overwritten": (
        lambda m, x: (lambda y: m.c3(F.relu(m.c2(y) + y.add_(1))))(F.relu(m.c1(x))),
        2,
        1,
    ),
    "the input is overwritten between layers": (
        lambda m, x: (lambda y, _, z: (m.c2(y), z))(F.relu(m.c1(x)), x.mul_(2), m.c3(x)),
        2,
        1,
    ),
    "by F.relu(inplace=True)": (
        lambda m, x: (lambda y, _, z: (m.c2(y), z))(F.relu(m.c1(x)), F.relu(x, True), m.c3(x)),
        2,
        1,
    ),
    "by out": (
        lambda m, x: (lambda y, _, z: (m.c2(y), z))(
            F.relu(m.c1(x)), torch.mul(x, 2, out=x), m.c3(x)
        ),
        2,
        1,
    ),
}


@pytest.mark.parametrize("name", FORWARDS)
def test_what_a_model_does_with_its_layers(name: str) -> None:
    forward, layers, chains = FORWARDS[name]
    parts = {f"c{i}": conv(kernel=(1, 3, 1, 3)[i - 1]) for i in range(1, 5)}
    check_dense(Wrapped(forward, **parts), images(), chained_layers=layers, native=chains)


def test_identities_are_part_of_chains_and_stay_modules() -> None:
    """One may be an output beside what it was given: the same tensor then."""
    parts = {"c1": conv(), "c2": conv(), "same": nn.Identity()}
    model = Wrapped(lambda m, x: (lambda y: (m.same(y), m.c2(y), y))(F.relu(m.c1(x))), **parts)
    sparse = converted(model, images())
    one, _, other = check(sparse, images(), native=1)
    assert one is other


def test_only_children_can_be_traced() -> None:
    def forward(m: Any, x: Tensor) -> Tensor:
        return m.one(x) if float(x.detach().sum()) > -1e9 else m.two(x)

    model = Wrapped(forward, one=stack(), two=stack())
    check_dense(model, images(), chained_layers=4)  # the example does not call the other


def test_layers_shared_between_places() -> None:
    shared = stack()
    model = nn.Sequential(shared, conv(6, 4), nn.ReLU(), shared)
    check_dense(model, images(), chained_layers=7, native=3)  # what is called twice is not fused
    one = conv()
    check_dense(nn.Sequential(one, conv(), nn.ReLU(), one), images(), chained_layers=3)
