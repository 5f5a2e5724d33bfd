"""Chains where torch must see the layers' calls: gradients, autocast, traces, transforms."""

from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor  # noqa: E402
from torch._subclasses import FakeTensorMode  # noqa: E402
from torch.fx.experimental.proxy_tensor import make_fx  # noqa: E402

from chain_cases import MODELS, apart, apart_of, converted, images, mlp, native_calls  # noqa: E402
from compiling import compiled  # noqa: E402


@pytest.fixture(params=MODELS)
def case(request: pytest.FixtureRequest) -> tuple[Any, Tensor]:
    """Return a converted model whose parameters need no gradients, and an input."""
    model, x = MODELS[request.param]
    return model.requires_grad_(False), x


def equal(got: Tensor, want: Tensor) -> bool:
    return got.dtype == want.dtype and torch.allclose(got, want, rtol=1e-5, atol=1e-5)


def test_gradients_reach_inputs_and_biases(case: tuple[Any, Tensor]) -> None:
    model, x = case
    bias = next(iter(model.parameters()))
    for inputs in ([x.clone().requires_grad_()], [x, bias]):
        given = inputs[0]
        bias.requires_grad_(len(inputs) == 2)
        with native_calls() as calls:
            got = torch.autograd.grad(model(given).square().sum(), inputs[-1])[0]
        assert not calls
        want = torch.autograd.grad(apart_of(model, given).square().sum(), inputs[-1])[0]
        assert torch.equal(got, want)
        assert got.abs().sum() > 0
        with native_calls() as calls, torch.no_grad():
            model(given)
        assert len(calls) == 1


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


def test_compile() -> None:
    model, x = MODELS["images"]
    with torch.no_grad():
        assert equal(compiled(model)(x), model(x))


def test_export() -> None:
    """By the names of the model's own forward."""
    model, x = MODELS["rows"]
    batch = torch.export.Dim("batch")
    with torch.no_grad():
        program = torch.export.export(model, (x,), dynamic_shapes={"x": {0: batch}}, strict=False)
        assert equal(program.module()(x.repeat(3, 1)), model(x.repeat(3, 1)))


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
