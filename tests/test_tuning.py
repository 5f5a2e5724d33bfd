"""What differs between makers of processors (csrc/dispatch.h) is tested on any."""

import numpy as np
import pytest

import cases
import oracle
import sparsecore as sc
from cases import MIXES, Mix
from oracle import F32, I8
from sparsecore import _core

# block_permute lays rows out otherwise, too: see test_block_permute.py.
KERNELS = ("packed_sweep", "row_sweep")


def tuned(is_amd, multiply):
    _core.tune_as_amd(is_amd)
    try:
        return multiply()
    finally:
        _core.tune_as_amd(None)


@pytest.mark.usefixtures("target")
@pytest.mark.parametrize("mix", [*MIXES, Mix(I8, I8)], ids=str)
@pytest.mark.parametrize("kernel", KERNELS)
def test_a_kernel_gives_the_same_bits(kernel, mix):
    rng = np.random.default_rng(70)
    for (m, k), density in (((130, 140), 0.5), ((37, 300), 0.1), ((140, 90), 0.02)):
        W = cases.random_dense(rng, (m, k), density, mix.values)
        scale = cases.factors(rng, m, F32) if mix.scaled else None
        for n in (1, 2, 3, 8, 33, 70):
            X = cases.numbers(rng, (k, n), mix.x)

            def multiply(W=W, X=X, scale=scale):
                P = sc.CSR.from_dense(W).prepare(n=X.shape[1], kernel=kernel)
                return sc.csr_matmul(P, X, scale=scale)

            ours, others = tuned(True, multiply), tuned(False, multiply)
            assert (oracle.bits(ours) == oracle.bits(others)).all(), f"{m}x{k}x{n}"
            dtype = oracle.result_dtype(mix.values, mix.x)
            oracle.check(ours, oracle.product(W, W != 0, X, dtype, scale), f"{m}x{k}x{n}")


@pytest.mark.usefixtures("target", "tuned_as_amd")
@pytest.mark.parametrize("mix", MIXES, ids=str)
def test_what_is_chosen_is_right(mix):
    rng = np.random.default_rng(71)
    W = cases.random_dense(rng, (132, 130), 0.45, mix.values)
    S, A = cases.sparse24(W), sc.CSR.from_dense(W)
    scale = cases.factors(rng, 132, F32) if mix.scaled else None
    dtype = oracle.result_dtype(mix.values, mix.x)
    for n in (1, 4, 20, 64, 130):
        X = cases.numbers(rng, (130, n), mix.x)
        want = oracle.product(W, W != 0, X, dtype, scale)
        for matrix in (A, A.prepare(n=n)):
            oracle.check(sc.csr_matmul(matrix, X, scale=scale), want, f"n={n}")
        want = oracle.product(S.W, S.stored, X, dtype, scale)
        oracle.check(cases.multiply(S.matrix, X, scale=scale), want, f"2:4, n={n}")
