"""The convolution as torch's operators: numbers, gradients, shapes without numbers, graphs."""

import gc
import weakref

import pytest

torch = pytest.importorskip("torch")

import sparsecore as sc  # noqa: E402
from library_cases import numbers  # noqa: E402
from library_conv_cases import (  # noqa: E402
    BIAS,
    GEOMETRY,
    LAST,
    PLACES,
    RESIDUAL,
    SCALE,
    SHAPE,
    A,
    X,
    named,
    weight,
)
from sparsecore.library import packed, structures  # noqa: E402

ops = torch.ops.sparsecore
KINDS = ("csr", "held", "plan")
BRIEF = ("test_schema", "test_autograd_registration", "test_faketensor")


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
