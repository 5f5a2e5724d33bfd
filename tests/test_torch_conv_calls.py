"""`conv2d` where torch must see the call: compiled, under autocast and transforms, with errors."""

import pytest

torch = pytest.importorskip("torch")

from torch._dynamo.exc import TorchDynamoException  # noqa: E402
from torch._subclasses.fake_tensor import FakeTensorMode  # noqa: E402

import sparsecore as sc  # noqa: E402
from compiling import check_training, compiled  # noqa: E402
from library_cases import numbers  # noqa: E402
from library_conv_cases import (  # noqa: E402
    BIAS,
    EPILOGUE,
    GEOMETRY,
    LAST,
    RESIDUAL,
    SHAPE,
    A,
    P,
    X,
    weight,
)


@pytest.mark.parametrize(
    ("function", "tensors"),
    [
        (lambda: sc.conv2d(X, A, **GEOMETRY), (X, A.data)),
        (lambda: sc.conv2d(LAST, A, **GEOMETRY, **EPILOGUE), (LAST, A.data, *EPILOGUE.values())),
        (lambda: sc.conv2d(X, P, BIAS, activation="relu"), (X, BIAS)),
        (lambda: sc.conv2d(X[0], A, residual=RESIDUAL[1], **GEOMETRY), (X, A.data, RESIDUAL)),
        (lambda: sc.conv2d(X, A.with_data(2 * A.data), **GEOMETRY), (X, A.data)),
    ],
    ids=["csr", "epilogue", "plan", "one image", "with_data"],
)
def test_compiled(function, tensors):
    torch._dynamo.reset()
    check_training(function, tensors)


def test_an_updated_plan():
    P = sc.ConvPlan(A, **GEOMETRY)
    convolve = compiled(lambda x: sc.conv2d(x, P))
    out = torch.empty(SHAPE, dtype=X.dtype)
    with torch.no_grad():
        before = convolve(X)
        P.update(2 * A.data.detach())
        torch.testing.assert_close(convolve(X), 2 * before)
        assert compiled(lambda: sc.conv2d(X, P, out=out))() is out
    torch.testing.assert_close(out, 2 * before)
    y = convolve(X)
    P.update(A.data.detach())
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_autocast_casts_images_to_the_values():
    for dtype in (torch.float32, torch.bfloat16):
        B = weight(dtype)
        for x_dtype in (torch.float32, torch.bfloat16):
            x, r = (numbers(*s, dtype=x_dtype, seed=s[2]) for s in (X.shape, SHAPE))
            for thing, kw in ((B, GEOMETRY), (sc.ConvPlan(B, **GEOMETRY), {})):
                with torch.autocast("cpu", torch.bfloat16):
                    y = sc.conv2d(x, thing, residual=r, **kw)
                    traced = compiled(sc.conv2d)(x, thing, residual=r, **kw)
                assert y.dtype == traced.dtype == dtype
                with torch.no_grad():
                    want = sc.conv2d(x.to(dtype), thing, residual=r.to(dtype), **kw)
                assert torch.equal(y, want)
                assert torch.equal(traced, want)
                for gradient in torch.autograd.grad(y.sum() + traced.sum(), (x, r)):
                    assert gradient.dtype == x_dtype


def test_vmap_runs_each_member():
    xs = torch.stack([X, 2 * X, 3 * X])
    for thing, kw in ((A, GEOMETRY), (P, {})):
        got = torch.func.vmap(lambda x, t=thing, kw=kw: sc.conv2d(x, t, **kw))(xs)
        torch.testing.assert_close(got, torch.stack([sc.conv2d(x, thing, **kw) for x in xs]))
    got = torch.func.vmap(lambda x: sc.conv2d(x, P, BIAS))(X)
    torch.testing.assert_close(got, sc.conv2d(X, P, BIAS))


# torch compiles rules of its own with it when forward-mode AD is first used.
@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")
def test_derivatives_without_a_rule_are_refused():
    for transform in (torch.func.grad, torch.func.jacfwd):
        with pytest.raises(NotImplementedError, match="conv2d: forward-mode"):
            transform(lambda x: sc.conv2d(x, P).sum())(X.detach())


def test_fake_tensors():
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    for x in (X, LAST):
        for thing, kw in ((A, GEOMETRY), (P, {})):
            with mode:
                y = sc.conv2d(mode.from_tensor(x), thing, **kw)
            want = sc.conv2d(x, thing, **kw)
            assert (y.shape, y.stride(), y.dtype) == (want.shape, want.stride(), want.dtype)


def test_errors_without_numbers():
    """A trace is refused with the words of the call itself."""
    x, bias = X.detach(), BIAS.detach()
    for images, b, residual in (
        (x[:, :3], bias, None),
        (x[None], bias, None),
        (x[..., :2], bias, None),
        (x.float(), bias, None),
        (x, bias[:2], None),
        (x, bias[None], None),
        (x, bias.to(torch.int64), None),
        (x, bias, x),
        (x, bias, x[0]),
        (x, bias, torch.ones(SHAPE)),
    ):
        with pytest.raises((TypeError, ValueError)) as direct:
            sc.conv2d(images, P, b, residual=residual)
        mode = FakeTensorMode(allow_non_fake_inputs=True)
        fakes = [None if t is None else mode.from_tensor(t) for t in (images, b, residual)]
        with mode, pytest.raises(type(direct.value)) as traced:
            sc.conv2d(fakes[0], P, fakes[1], residual=fakes[2])
        assert str(traced.value) == str(direct.value)
    with pytest.raises(ValueError, match="activation is 'tanh'"):
        sc.conv2d(X, P, activation="tanh")
    with pytest.raises(TorchDynamoException, match="activation is 'tanh'"):
        compiled(lambda: sc.conv2d(X, P, activation="tanh"))()
