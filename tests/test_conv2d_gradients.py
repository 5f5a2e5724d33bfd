"""Gradients of conv2d: differences in fp64, torch's own, and images taken a few at a time."""

import functools

import numpy as np
import pytest

import cases
import conv_cases
import oracle
import sparsecore as sc
from conv_cases import Geometry
from recorded import leaf, pattern

torch = pytest.importorskip("torch")
from sparsecore import torch_conv  # noqa: E402

# Fast: one random direction of the Jacobian, not each of its columns.
gradcheck = functools.partial(torch.autograd.gradcheck, fast_mode=True)
gradgradcheck = functools.partial(torch.autograd.gradgradcheck, fast_mode=True)

GEOMETRIES = (
    Geometry((1, 1)),
    Geometry((2, 3), padding=(1, 1)),
    Geometry((2, 2), (2, 1), (1, 0), (1, 2), groups=2),
    Geometry((1, 2), (3, 2), (0, 3), groups=4),
)
CHANNELS = 4


def weight(g, m=4):
    return pattern(m, CHANNELS // g.groups * g.taps)


@pytest.mark.parametrize("g", GEOMETRIES, ids=str)
def test_in_values_and_images(g):
    A = weight(g)

    def conv(data, x):
        return sc.conv2d(x, A.with_data(data), **g.arguments())

    for images in (1, 2, 0):
        data, x = leaf(A.nnz), leaf(images, CHANNELS, 3, 4, seed=1)
        assert gradcheck(conv, (data, x))
        assert gradcheck(lambda data, x=x: conv(data, x.detach()), (data,))
        assert gradcheck(lambda x, data=data: conv(data.detach(), x), (x,))
    last = leaf(2, 3, 4, CHANNELS, seed=1)
    assert gradcheck(lambda data, x: conv(data, x.permute(0, 3, 1, 2)), (leaf(A.nnz), last))


@pytest.mark.parametrize("g", GEOMETRIES[1:], ids=str)
def test_gradients_of_gradients(g):
    A = weight(g)
    arguments = leaf(A.nnz), leaf(2, CHANNELS, 2, 3, seed=1), leaf(4, seed=2), leaf(4, seed=3)
    assert gradgradcheck(
        lambda data, x, scale, bias: sc.conv2d(
            x, A.with_data(data), bias, scale=scale, **g.arguments()
        ),
        arguments,
    )
    plan = sc.ConvPlan(A, **g.arguments())
    assert gradgradcheck(
        lambda x, scale, bias: sc.conv2d(x, plan, bias, scale=scale), arguments[1:]
    )


@pytest.mark.parametrize("activation", [None, "relu", "gelu", "silu"])
def test_epilogue(activation):
    g = GEOMETRIES[1]
    A = weight(g)
    plan = sc.ConvPlan(A, **g.arguments())
    x = leaf(2, CHANNELS, 3, 4, seed=1)
    residual = leaf(2, 4, *g.out_size((3, 4)), seed=2)
    rest = x, leaf(4, seed=3), residual, leaf(4, seed=4)

    def through_csr(data, x, bias, residual, scale):
        return sc.conv2d(
            x, A.with_data(data), bias, residual=residual, scale=scale, activation=activation,
            **g.arguments(),
        )  # fmt: skip

    def through_plan(x, bias, residual, scale):
        return sc.conv2d(x, plan, bias, residual=residual, scale=scale, activation=activation)

    assert gradcheck(through_csr, (leaf(A.nnz), *rest))
    assert gradcheck(through_plan, rest)


def test_one_image_without_its_axis():
    g = GEOMETRIES[2]
    A = weight(g)
    residual = leaf(4, *g.out_size((3, 4)), seed=2)
    assert gradcheck(
        lambda data, x, residual: sc.conv2d(
            x, A.with_data(data), residual=residual, **g.arguments()
        ),
        (leaf(A.nnz), leaf(CHANNELS, 3, 4, seed=1), residual),
    )


@pytest.mark.parametrize("kind", ["numpy", "torch"])
def test_int8_values_with_scale(kind):
    """Differentiable in the images and in the factors."""
    g = GEOMETRIES[2]
    rng = np.random.default_rng(100)
    W = conv_cases.weights(rng, 4, CHANNELS, g, 0.5, oracle.I8)
    A = sc.CSR.from_dense(W if kind == "numpy" else torch.from_numpy(W))
    for left in (A, sc.ConvPlan(A, **g.arguments())):
        options = g.arguments() if left is A else {}
        assert gradcheck(
            lambda x, s, left=left, options=options: sc.conv2d(x, left, scale=s, **options),
            (leaf(2, CHANNELS, 3, 4), leaf(4, seed=1)),
        )


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("g", GEOMETRIES, ids=str)
def test_gradients_are_torchs_at_the_stored_positions(g, dtype):
    A = weight(g)
    A = A.with_data(A.data.to(dtype))
    data = A.data.clone().requires_grad_()
    x = leaf(3, CHANNELS, 6, 7).detach().to(dtype)
    bias = leaf(4, seed=2).detach().to(dtype)
    W = A.toarray().reshape(4, CHANNELS // g.groups, *g.kernel_size).double()
    ours, torchs = (
        [t.clone().requires_grad_() for t in (x.to(kind), bias.to(kind))]
        for kind in (dtype, torch.float64)
    )
    W.requires_grad_()
    options = g.arguments()
    del options["kernel_size"]
    want = torch.nn.functional.conv2d(torchs[0], W, torchs[1], **options)
    got = sc.conv2d(ours[0], A.with_data(data), ours[1], **g.arguments())
    dY = torch.randn(want.shape, generator=torch.Generator().manual_seed(3)).to(dtype)
    want.backward(dY.double())
    got.backward(dY)
    # Sums of fewer than 200 products of numbers below 4, rounded a few times.
    tolerance = 200 * 16 * oracle.unit(oracle.F64 if dtype == torch.float64 else oracle.F32)
    tolerance += 16 * 4 * torch.finfo(dtype).eps
    stored = A.with_data(torch.ones_like(A.data)).toarray() != 0
    for mine, theirs in (
        (data.grad, W.grad.reshape(stored.shape)[stored]),
        (ours[0].grad, torchs[0].grad),
        (ours[1].grad, torchs[1].grad),
    ):
        assert mine.dtype == dtype
        torch.testing.assert_close(mine.double(), theirs, rtol=0, atol=tolerance)


def test_images_are_taken_a_few_at_a_time(monkeypatch):
    for g in GEOMETRIES[1:3]:
        A = weight(g)
        x, data = leaf(5, CHANNELS, 4, 5), leaf(A.nnz, seed=1)
        image_bytes = 8 * CHANNELS * 4 * 5 * g.taps
        grads = []
        for limit in (1, 2 * image_bytes, 3 * image_bytes, 1 << 30):
            monkeypatch.setattr(torch_conv, "_PATCH_BYTES", limit)
            y = sc.conv2d(x, A.with_data(data), **g.arguments())
            dY = torch.from_numpy(cases.numbers(np.random.default_rng(102), y.shape, oracle.F64))
            grads.append(torch.autograd.grad(y, (data, x), dY))
        for d_data, d_x in grads[:-1]:
            torch.testing.assert_close(d_data, grads[-1][0], rtol=1e-12, atol=1e-12)
            torch.testing.assert_close(d_x, grads[-1][1], rtol=0, atol=0)


def test_what_cannot_be_recorded_is_refused():
    g = GEOMETRIES[1]
    A = weight(g)
    plan = sc.ConvPlan(A, **g.arguments())
    x = leaf(1, CHANNELS, 3, 4)
    y = sc.conv2d(x, plan)
    for given, out in ((x, torch.empty_like(y)), (x[0], torch.empty_like(y[0]))):
        with pytest.raises(RuntimeError, match="conv2d: out takes no part in gradients"):
            sc.conv2d(given, plan, out=out)
    for name in ("scale", "bias"):
        with pytest.raises(TypeError, match=r"conv2d: x is a numpy array, but an argument is"):
            sc.conv2d(x.detach().numpy(), plan, **{name: leaf(4)})
    plan.update(A.data * 2)
    with pytest.raises(RuntimeError, match="conv2d: the plan was updated between"):
        y.sum().backward()
    with torch.no_grad():
        assert not sc.conv2d(x, plan).requires_grad
        sc.conv2d(x, plan, out=torch.empty_like(y))
    data = A.data.clone().requires_grad_()
    y = sc.conv2d(x, A.with_data(data), **g.arguments())
    with torch.no_grad():
        data.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()
    assert isinstance(sc.conv2d(x.detach().numpy(), A.with_data(data), **g.arguments()), np.ndarray)
