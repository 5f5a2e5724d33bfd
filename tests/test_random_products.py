"""Products that hypothesis draws: patterns, shapes, dtypes and memory orders at once."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

import cases
import oracle
import sparsecore as sc
from oracle import F32

LEFT = {
    "csr": cases.csr,
    "transposed": cases.transposed,
    "plan": cases.plan,
    "24": cases.sparse24,
    **{kernel: cases.prepared(kernel) for kernel in ("packed_sweep", "block_permute", "row_sweep")},
}
SIDES = st.integers(0, 40)


@given(
    left=st.sampled_from(sorted(LEFT)),
    mix=st.sampled_from(cases.MIXES),
    shape=st.tuples(SIDES, SIDES),
    n=st.one_of(st.none(), st.integers(0, 140)),
    density=st.sampled_from([0.02, 0.2, 0.5, 1.0]),
    layout=st.sampled_from(cases.LAYOUTS),
    threads=st.integers(1, 4),
    target=st.sampled_from(sc.cpu.targets()),
    seed=st.integers(0, 2**32 - 1),
)
def test_products(left, mix, shape, n, density, layout, threads, target, seed):
    rng = np.random.default_rng(seed)
    operand = LEFT[left](cases.random_dense(rng, shape, density, mix.values))
    X = cases.laid_out(cases.numbers(rng, shape[1:] + (() if n is None else (n,)), mix.x), layout)
    scale = cases.factors(rng, shape[0], F32) if mix.scaled else None
    before = sc.cpu.target()
    sc.cpu.set_target(target)
    try:
        Y = cases.multiply(operand.matrix, X, scale=scale, threads=threads)
    finally:
        sc.cpu.set_target(before)
    dtype = oracle.result_dtype(mix.values, mix.x)
    oracle.check(Y, oracle.product(operand.W, operand.stored, X, dtype, scale), "product")


# Views of a small buffer: where a row and a column begin, and how far the next ones lie.
VIEWS = st.tuples(st.integers(0, 30), st.integers(-12, 12), st.integers(-12, 12), st.integers(1, 3))


def view_of(buffer, view, shape):
    """Return a strided view that stays inside the buffer, or None."""
    start, row, column, step = view
    strides = (row * step, column * step)
    last = [start + (size - 1) * stride for size, stride in zip(shape, strides, strict=True)]
    reach = (sum(min(0, end - start) for end in last), sum(max(0, end - start) for end in last))
    if start + reach[0] < 0 or start + reach[1] >= len(buffer):
        return None
    item = buffer.itemsize
    return np.lib.stride_tricks.as_strided(
        buffer[start:], shape, tuple(stride * item for stride in strides)
    )


@given(x=VIEWS, out=VIEWS, n=st.integers(1, 4))
def test_an_out_that_shares_an_element_with_x_is_never_written(x, out, n):
    """numpy.shares_memory is the oracle; refusing more than it does is allowed."""
    buffer = np.arange(90.0)
    X, Y = view_of(buffer, x, (3, n)), view_of(buffer, out, (3, n))
    if X is None or Y is None or not np.shares_memory(X, Y):
        return
    try:
        sc.csr_matmul(sc.CSR.from_dense(np.eye(3)), X, out=Y)
    except ValueError:
        assert (buffer == np.arange(90.0)).all()
        return
    pytest.fail(f"out of strides {Y.strides} was written although it shares memory with X")
