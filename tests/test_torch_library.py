"""python/sparsecore/library: the operators, their gradients, and what they keep of a structure."""

import gc

import pytest

torch = pytest.importorskip("torch")

from torch._subclasses.fake_tensor import FakeTensorMode  # noqa: E402

import library_cases as lib  # noqa: E402
import sparsecore as sc  # noqa: E402
from sparsecore.library import structures  # noqa: E402

ops = torch.ops.sparsecore
# opcheck's last two tests run AOTAutograd, and say the same of every shape: the first one has them.
BRIEF = ("test_schema", "test_autograd_registration", "test_faketensor")


def operator(kind, what):
    return getattr(ops, f"{kind}_{what}").default


@pytest.mark.parametrize("kind", lib.KINDS)
def test_opcheck(kind):
    for what, given in (("matmul", lib.products(kind)), ("sddmm", lib.sampled(kind))):
        for i, arguments in enumerate(given):
            tests = (*BRIEF, "test_aot_dispatch_dynamic") if i == 0 else BRIEF
            torch.library.opcheck(operator(kind, what), arguments, test_utils=tests)


@pytest.mark.parametrize("kind", lib.KINDS)
@pytest.mark.parametrize("what", ["matmul", "sddmm"])
def test_gradients(kind, what):
    """Of the first and second order, in every tensor that has one."""
    for arguments in lib.products(kind) if what == "matmul" else lib.sampled(kind):
        assert torch.autograd.gradcheck(operator(kind, what), arguments)
        assert torch.autograd.gradgradcheck(operator(kind, what), arguments, fast_mode=True)


@pytest.mark.parametrize("kind", lib.KINDS)
def test_numbers_are_those_of_the_direct_call(kind):
    A = lib.matrix(kind)
    for arguments in lib.products(kind):
        got = operator(kind, "matmul")(*arguments)
        x, count = arguments[0].detach(), len(lib.named(kind, A))
        transposed, by_rows, *epilogue = (*arguments[2 + count :], *[None] * 6)[:6]
        dense = A.toarray().detach()
        dense = dense.t() if transposed else dense
        y = x @ dense.t() if by_rows else dense @ x
        scale, bias, residual, activation = epilogue
        y = y * (1 if scale is None else scale) + (0 if bias is None else bias)
        y = y + (0 if residual is None else residual)
        y = y if activation is None else torch.nn.functional.silu(y)
        torch.testing.assert_close(got, y, rtol=1e-13, atol=1e-13)


# ---- structures ----


def test_a_structure_is_validated_once_and_again_after_an_edit():
    A = lib.matrix("csr")
    indices, indptr, shape = lib.named("csr", A)
    first = structures.csr(indices, indptr, shape)
    assert structures.csr(indices, indptr, shape) is first
    assert structures.csr(indices.detach(), indptr, shape) is first, "the same memory"
    assert structures.csr(indices, indptr, [6, 11]) is not first
    column = int(indices[0])
    indices[0] = 99
    with pytest.raises(IndexError, match="column 99"):
        structures.csr(indices, indptr, shape)
    indices[0] = column
    again = structures.csr(indices, indptr, shape)
    assert again is not first
    assert again.equals(first)
    indices[:2] = indices[:2].flip(0)
    with pytest.raises(ValueError, match="not ascending"):
        structures.csr(indices, indptr, shape)


def test_memory_of_dead_tensors_is_not_taken_for_theirs():
    """Each round's tensors get the last one's memory; its structures are forgotten in the end."""
    for round_ in range(100):
        column = torch.tensor([round_ % 7], dtype=torch.int8)
        structure = structures.csr(column, torch.tensor([0, 1]), [1, 7])
        assert structure.indices.tolist() == [round_ % 7]
    gc.collect()
    structures._sweep()
    assert len(structures._entries) < 100


def test_a_handle_of_what_is_gone():
    A = lib.matrix("held")
    token, sizes = lib.named("held", A)
    values = A.data
    assert ops.held_matmul(lib.numbers(10), values, token, sizes).shape == (6,)
    del A
    gc.collect()
    with pytest.raises(RuntimeError, match="not there any more"):
        ops.held_matmul(lib.numbers(10), values, token, sizes)


# ---- around the operators ----


@pytest.mark.parametrize("kind", lib.KINDS)
def test_autocast_casts_x_to_the_values(kind):
    for dtype in (torch.float32, torch.bfloat16):
        A = lib.matrix(kind, dtype)
        start = lib.values_of(A), *lib.named(kind, A)
        for x_dtype in (torch.float32, torch.float16, torch.bfloat16):
            x = lib.numbers(10, 3, dtype=x_dtype)
            with torch.autocast("cpu", torch.bfloat16):
                y = operator(kind, "matmul")(x, *start)
                eager = (sc.sparse24_matmul if kind == "sparse24" else sc.csr_matmul)(A, x)
            assert y.dtype == dtype
            assert torch.equal(y, operator(kind, "matmul")(x.to(dtype), *start))
            assert torch.equal(y, eager)
            (gradient,) = torch.autograd.grad(eager.sum(), x)
            assert gradient.dtype == x_dtype


def test_vmap_runs_each_member():
    A, S, xs = lib.matrix("csr"), lib.matrix("sparse24"), lib.numbers(4, 10, 3)
    for product, B in ((sc.csr_matmul, A), (sc.sparse24_matmul, S)):
        got = torch.func.vmap(lambda x, B=B, product=product: product(B, x))(xs)
        torch.testing.assert_close(got, torch.stack([product(B, x) for x in xs]))
    biases = lib.numbers(5, 6)
    got = torch.func.vmap(lambda b: sc.linear(xs[0].t(), A, b))(biases)
    torch.testing.assert_close(got, sc.linear(xs[0].t(), A) + biases[:, None])


# torch compiles rules of its own with it when forward-mode AD is first used.
@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")
def test_derivatives_without_a_rule_are_refused():
    A, x = lib.matrix("csr"), lib.numbers(10, grad=False)
    for transform in (torch.func.grad, torch.func.jacfwd, torch.func.jacrev):
        with pytest.raises(NotImplementedError, match="csr_matmul: forward-mode"):
            transform(lambda x: sc.csr_matmul(A, x).sum())(x)
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(x, x)
        with pytest.raises(NotImplementedError, match="csr_matmul: forward-mode"):
            sc.csr_matmul(A, dual)


def test_fake_tensors_and_errors_without_numbers():
    """A trace is refused with the words of the call itself."""
    A, x = lib.matrix("csr", torch.float32), lib.numbers(3, 10, dtype=torch.float32, grad=False)
    bias = torch.ones(6)
    for arguments in (
        (x[:, :9], bias),
        (x[0, 0], bias),
        (x, bias[:5]),
        (x, bias[None]),
        (x, bias.to(torch.int64)),
        (x.double(), bias),
        (x.to(torch.complex64), bias),
        (x, bias, x),
        (x, bias, torch.ones(3, 6, dtype=torch.float64)),
    ):
        with pytest.raises((TypeError, ValueError)) as direct:
            sc.linear(*arguments[:1], A, arguments[1], residual=(*arguments, None)[2])
        mode = FakeTensorMode(allow_non_fake_inputs=True)
        fakes = [mode.from_tensor(t) for t in arguments]
        with mode, pytest.raises(type(direct.value)) as traced:
            sc.linear(*fakes[:1], A, fakes[1], residual=(*fakes, None)[2])
        assert str(traced.value) == str(direct.value)
