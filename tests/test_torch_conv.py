"""The convolution as torch's operators: numbers, gradients, shapes without numbers, graphs."""

import gc
import weakref

import pytest

torch = pytest.importorskip("torch")

from torch._dynamo.exc import TorchDynamoException  # noqa: E402
from torch._subclasses.fake_tensor import FakeTensorMode  # noqa: E402

import sparsecore as sc  # noqa: E402
from compiling import check_training, compiled  # noqa: E402
from library_cases import numbers  # noqa: E402
from sparsecore.library import packed, structures  # noqa: E402

ops = torch.ops.sparsecore
KINDS = ("csr", "held", "plan")
GEOMETRY = {
    "kernel_size": [3, 2],
    "stride": [2, 1],
    "padding": [1, 0],
    "dilation": [1, 2],
    "groups": 2,
}
PLACES = tuple(GEOMETRY.values())
BRIEF = ("test_schema", "test_autograd_registration", "test_faketensor")


def weight(dtype=torch.float64):
    """Return four output channels, of four input channels in two groups; one row is empty."""
    W = numbers(4, 12, grad=False)
    W = W.where(W.abs() > 0.5, 0)
    W[3] = 0
    A = sc.CSR.from_dense(W.to(dtype))
    return A.with_data(A.data.clone().requires_grad_(dtype.is_floating_point))


A = weight()
P = sc.ConvPlan(A, **GEOMETRY)
X = numbers(2, 4, 4, 4)
LAST = X.detach().to(memory_format=torch.channels_last).requires_grad_()
SHAPE = (2, 4, 2, 2)
SCALE, BIAS, RESIDUAL = numbers(4, seed=1), numbers(4, seed=2), numbers(*SHAPE, seed=3)
EPILOGUE = {"bias": BIAS, "scale": SCALE, "residual": RESIDUAL}


def named(kind, A=A, P=P):
    """Return the values, and what tells an operator which weight is meant."""
    if kind == "csr":
        structure = A.indices.to(torch.int16), A.indptr.to(torch.int8)
        return [A.data, *structure, list(A.shape)]
    thing, values = (A, A.data) if kind == "held" else (P, P._like)
    return [values, thing._handle.token, list(thing._handle.sizes)]


def operator(kind, what=""):
    return getattr(ops, f"{'csr' if kind == 'csr' else 'held'}_conv2d{what}").default


def calls(kind):
    """Yield each operator with arguments: the convolution with and without more, its gradients."""
    given, dY = named(kind), numbers(*SHAPE, seed=4)
    yield operator(kind), (X, *given, *PLACES)
    yield operator(kind), (LAST, *given, *PLACES, SCALE, BIAS, RESIDUAL)
    yield operator(kind), (X, *given, *PLACES, None, BIAS, None, "silu")
    yield operator(kind, "_image_gradient"), (dY, *given, *PLACES, [4, 4], None)
    yield operator(kind, "_values_gradient"), (dY, X, *given[1:], *PLACES, None)


@pytest.mark.parametrize("kind", KINDS)
def test_opcheck(kind):
    for i, (function, arguments) in enumerate(calls(kind)):
        tests = (*BRIEF, "test_aot_dispatch_dynamic") if i == 0 else BRIEF
        torch.library.opcheck(function, arguments, test_utils=tests)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients(kind):
    """Of the first and second order, in every tensor that has one."""
    for i, (function, arguments) in enumerate(calls(kind)):
        assert torch.autograd.gradcheck(function, arguments, fast_mode=i > 1)
        assert torch.autograd.gradgradcheck(function, arguments, fast_mode=True)


@pytest.mark.parametrize("kind", KINDS)
def test_numbers_are_torchs(kind):
    W = A.toarray().detach().reshape(4, 2, 3, 2)
    want = torch.nn.functional.conv2d(X, W, None, *PLACES[1:])
    torch.testing.assert_close(operator(kind)(X, *named(kind), *PLACES), want)
    y = operator(kind)(LAST, *named(kind), *PLACES, SCALE, BIAS, RESIDUAL, "relu")
    assert y.is_contiguous(memory_format=torch.channels_last)
    want = want * SCALE[:, None, None] + BIAS[:, None, None] + RESIDUAL
    torch.testing.assert_close(y, want.relu())


def test_shapes_without_numbers_have_the_memory_order_of_the_images():
    for shape in ((1, 4, 6, 5), (0, 4, 6, 5), (2, 4, 1, 5), (2, 4, 5, 1), (3, 4, 1, 1)):
        for order in (torch.contiguous_format, torch.channels_last):
            x = numbers(*shape, grad=False).to(memory_format=order)
            for images in (x, x.transpose(2, 3), x[:, :, ::1, :1]):
                places = [1, 1], [1, 1], [0, 0], [1, 1], 1
                B = sc.CSR.from_dense(numbers(3, 4, grad=False))
                arguments = (images, *named("held", B), *places)
                torch.library.opcheck(ops.held_conv2d.default, arguments, test_utils=BRIEF[2:])


def test_int8_values():
    B, x = weight(torch.float64), numbers(2, 4, 6, 5, dtype=torch.float32)
    B = sc.CSR._wrap(B._structure, (4 * B.data.detach()).to(torch.int8))
    scale = numbers(4, dtype=torch.float32)
    for kind in ("csr", "held"):
        arguments = (x, *named(kind, B), *PLACES, scale)
        torch.library.opcheck(operator(kind), arguments, test_utils=BRIEF)
        gradients = torch.autograd.grad(operator(kind)(*arguments).sin().sum(), (x, scale))
        y = sc.conv2d(x, B, scale=scale, **GEOMETRY)
        want = torch.autograd.grad(y.sin().sum(), (x, scale))
        torch.testing.assert_close(gradients, want)


def test_a_weight_is_packed_again_where_its_values_were_edited():
    values, indices, indptr, shape = named("csr", weight())
    values.requires_grad_(requires_grad=False)
    arguments = (X.detach(), values, indices, indptr, shape, *PLACES)
    before = ops.csr_conv2d(*arguments)
    structure = structures.csr(indices, indptr, shape)
    kept = packed._kept[structure]
    assert ops.csr_conv2d(*arguments).equal(before)
    assert packed._kept[structure] is kept
    values.data.numpy()[:] *= 2  # of which no counter tells
    torch.testing.assert_close(ops.csr_conv2d(*arguments), 2 * before)
    assert packed._kept[structure] is not kept
    gone = weakref.ref(structure)
    del values, indices, indptr, structure, kept, arguments
    gc.collect()
    structures._sweep()
    assert gone() is None


def test_a_plan_has_one_geometry():
    with pytest.raises(ValueError, match=r"conv2d: the plan is of .*stride=\(2, 1\)"):
        ops.held_conv2d(X, *named("plan"), *PLACES[:1], [1, 1], *PLACES[2:])


# ---- the public function ----


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
