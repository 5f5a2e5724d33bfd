"""`out=`: written in place in any memory order, and every reason to refuse one."""

import numpy as np
import pytest

import cases
import oracle
import sparsecore as sc
from cases import Mix
from oracle import BF16, F16, F32, F64, I8

LEFT = {"csr": cases.csr, "transposed": cases.transposed, "plan": cases.plan, "24": cases.sparse24}
OUT_LAYOUTS = ("C", "F", "strided", "negative", "misaligned", "wide rows")
MIXES = [Mix(d, d) for d in (F64, F32, F16, BF16, I8)] + [Mix(F16, F32), Mix(I8, F16, scaled=True)]


def empty_out(shape, dtype, layout):
    """Return a writable array of sentinels in a memory order, and the array that owns it."""
    filled = np.full(shape, cases.BESIDE, dtype)
    if layout == "wide rows":  # contiguous rows inside a larger matrix
        owner = np.full((shape[0] + 2, *(s + 5 for s in shape[1:])), cases.BESIDE, dtype)
        return owner[(slice(1, -1), *(slice(2, 2 + s) for s in shape[1:]))], owner
    out = cases.laid_out(filled, layout)
    owner = out
    while isinstance(owner.base, np.ndarray):
        owner = owner.base
    return out, owner


def outside(owner, out, dtype):
    """Return the owner's elements that are not `out`'s, by marking `out` and looking elsewhere."""
    if owner.dtype != dtype:  # raw bytes, one in front of a misaligned array
        return owner[:0]
    kept = out.copy()
    out[...] = 1
    rest = owner[owner != 1]
    out[...] = kept
    return rest


@pytest.mark.usefixtures("target")
@pytest.mark.parametrize("mix", MIXES, ids=str)
@pytest.mark.parametrize("left", LEFT)
def test_written_in_every_memory_order(left, mix):
    """The result is `out` itself, holds the product, and nothing beside it is touched."""
    rng = np.random.default_rng(25)
    dtype = oracle.result_dtype(mix.values, mix.x)
    for (m, k), n in (((18, 9), 1), ((18, 9), 3), ((5, 40), 17), ((33, 20), 35), ((3, 8), 140)):
        operand = LEFT[left](cases.random_dense(rng, (m, k), 0.4, mix.values))
        scale = cases.factors(rng, m, F32) if mix.scaled else None
        X = cases.numbers(rng, (k, n), mix.x)
        for x, order in ((X, "C"), (np.asfortranarray(X), "F"), (X[:, 0], "1-D")):
            for layout in OUT_LAYOUTS:
                case = f"{m}x{k}x{n}, X {order}, out {layout}"
                out, owner = empty_out((m, *x.shape[1:]), dtype, layout)
                got = cases.multiply(operand.matrix, x, scale=scale, out=out)
                assert got is out, case
                want = oracle.product(operand.W, operand.stored, x, dtype, scale)
                oracle.check(out, want, case)
                assert (outside(owner, out, dtype) == cases.BESIDE).all(), case


@pytest.mark.parametrize("left", LEFT)
def test_empty_products_overwrite_what_was_there(left):
    """Without any entry the result is zero, not what `out` held."""
    operand = LEFT[left](np.zeros((4, 8), np.float32))
    for shape in ((8,), (8, 1), (8, 20)):
        out = np.full((4, *shape[1:]), np.nan, np.float32)
        cases.multiply(operand.matrix, np.ones(shape, np.float32), out=out)
        assert (out == 0).all(), shape


def test_linear_writes_out():
    rng = np.random.default_rng(26)
    operand = cases.csr(cases.random_dense(rng, (7, 12), 0.4, F32))
    for lead in ((), (5,), (2, 3), (0,), (2, 0, 3)):
        x = cases.numbers(rng, (*lead, 12), F32)
        wanted = sc.linear(x, operand.matrix, np.ones(7, F32), activation="relu")
        for layout in ("C", "F", "negative", "misaligned"):
            out = cases.laid_out(np.full((*lead, 7), 77, F32), layout)
            got = sc.linear(x, operand.matrix, np.ones(7, F32), activation="relu", out=out)
            assert got is out
            np.testing.assert_allclose(out, wanted, rtol=1e-6, err_msg=f"{lead}, {layout}")
    wide = np.full((2, 6, 7), 77, F32)  # rows that no reshape can flatten without a copy
    x = cases.numbers(rng, (2, 3, 12), F32)
    sc.linear(x, operand.matrix, out=wide[:, ::2])
    np.testing.assert_allclose(wide[:, ::2], sc.linear(x, operand.matrix), rtol=1e-6)
    assert (wide[:, 1::2] == 77).all()


@pytest.mark.parametrize("left", LEFT)
def test_linear_out_without_rows(left):
    operand = LEFT[left](np.zeros((0, 8), np.float32))
    out = np.empty((3, 0), np.float32)
    x = np.ones((3, 8), np.float32)
    assert sc.linear(x, operand.matrix, residual=np.empty((3, 0), np.float32), out=out) is out


# ---- refusals ----


@pytest.mark.parametrize("left", LEFT)
def test_wrong_shape_or_dtype(left):
    matrix = LEFT[left](np.eye(4, 8, dtype=np.float32)).matrix
    X = np.ones((8, 3), np.float32)
    for out in (
        np.empty((3, 4), np.float32),
        np.empty((4, 2), np.float32),
        np.empty((4,), np.float32),
        np.empty((4, 3, 1), np.float32)[..., 0][:3],
        np.empty((4, 3), np.float64),
        np.empty((4, 3), np.float16),
        np.empty((4, 3), np.int32),
    ):
        with pytest.raises(ValueError, match="out"):
            cases.multiply(matrix, X, out=out)
    with pytest.raises(ValueError, match="out"):
        cases.multiply(matrix, X[:, 0], out=np.empty((4, 1), np.float32))


def test_read_only_or_no_array():
    A = sc.CSR.from_dense(np.eye(4))
    out = np.empty(4)
    out.flags.writeable = False
    with pytest.raises(ValueError, match="csr_matmul: out is read-only"):
        sc.csr_matmul(A, np.ones(4), out=out)
    with pytest.raises(ValueError, match="linear: out is read-only"):
        sc.linear(np.ones(4), A, out=out)
    for bad in ([0.0] * 4, 3.0, A):
        with pytest.raises(TypeError, match="out"):
            sc.csr_matmul(A, np.ones(4), out=bad)


@pytest.mark.parametrize("left", ["csr", "transposed", "plan", "24"])
def test_overlapping_x(left):
    matrix = LEFT[left](np.eye(8, dtype=np.float32)).matrix
    buffer = np.ones((9, 8), np.float32)
    misaligned = cases.misaligned(np.ones((8, 8), np.float32))
    for X, out in (
        (buffer[:8], buffer[:8]),
        (buffer[:8], buffer[1:]),
        (buffer[:8], buffer[:8].T),
        (buffer[:8], buffer[7::-1]),
        (buffer[0], buffer[0]),
        (buffer[:8, 0], buffer[3]),
        (np.broadcast_to(buffer[0], (8, 8)), buffer[:8]),
        (misaligned, misaligned),
    ):
        with pytest.raises(ValueError, match="out overlaps X"):
            cases.multiply(matrix, X, out=out)


def test_overlapping_other_arguments():
    W = np.eye(8, dtype=np.float32)
    data = np.ones(8, np.float32)
    A = sc.CSR((data, np.arange(8), np.arange(9)), shape=(8, 8))
    x = np.ones(8, np.float32)
    with pytest.raises(ValueError, match="out overlaps A's values"):
        sc.csr_matmul(A, x, out=data)
    with pytest.raises(ValueError, match="out overlaps A's values"):
        sc.csr_matmul(A.T, x, out=data)
    other = np.ones(8, np.float32)
    with pytest.raises(ValueError, match="out overlaps scale"):
        sc.csr_matmul(A, x, scale=other, out=other)
    with pytest.raises(ValueError, match="out overlaps bias"):
        sc.linear(x, A, other, out=other)
    with pytest.raises(ValueError, match="out overlaps residual"):
        sc.linear(x, A, residual=other, out=other)
    values = np.ones((8, 4), np.float32)
    S = sc.Sparse24.from_dense(W)
    S = sc.Sparse24((values, S.metadata), (8, 8))
    with pytest.raises(ValueError, match="out overlaps"):
        sc.sparse24_matmul(S, x, out=values.reshape(-1)[:8])


def test_neighbours_in_one_buffer_do_not_overlap():
    """Halves of a buffer, and every second column: no element is shared."""
    A = sc.CSR.from_dense(2 * np.eye(4))
    for X, out in (
        (slice(0, 4), slice(4, 8)),
        (slice(0, 8, 2), slice(1, 8, 2)),
        (slice(0, 1), slice(7, 8)),
    ):
        buffer = np.ones((4, 8))
        assert (sc.csr_matmul(A, buffer[:, X], out=buffer[:, out]) == 2).all()
        assert (buffer[:, X] == 1).all()


def test_a_plan_may_write_over_the_array_it_was_made_from():
    """A plan holds a snapshot of the values."""
    data = np.ones(8)
    P = sc.CSR((data, np.arange(8), np.arange(9)), shape=(8, 8)).prepare()
    assert P @ np.full(8, 3.0) is not data
    assert (sc.csr_matmul(P, np.full(8, 3.0), out=data) == 3).all()
    assert (P @ np.ones(8) == 1).all()


def test_an_out_that_overlaps_itself_is_refused():
    A, X = sc.CSR.from_dense(np.eye(4)), np.ones((4, 3))
    for out in (
        np.lib.stride_tricks.as_strided(np.zeros(3), (4, 3), (0, 8)),
        np.lib.stride_tricks.as_strided(np.zeros(6), (4, 3), (8, 8)),
    ):
        with pytest.raises(ValueError, match="share memory"):
            sc.csr_matmul(A, X, out=out)


def test_overlap_with_an_argument_that_is_copied_is_refused():
    """An unaligned X reaches the kernel as a copy; the caller's memory counts."""
    A = sc.CSR.from_dense(np.eye(4))
    buffer = np.zeros(80, np.uint8)
    X, out = buffer[1:33].view(np.float64), buffer[8:40].view(np.float64)
    with pytest.raises(ValueError, match="overlaps X"):
        sc.csr_matmul(A, X, out=out)
