"""2:4 products at the seams of the kernels: csrc/plans/sparse24.cpp, csrc/cpu/sparse24_*.h."""

import numpy as np
import pytest

import cases
import oracle
import product_cases as products
import sparsecore as sc
from cases import MIXES, Mix
from oracle import DTYPES, F32, I8
from sparsecore import _core

pytestmark = pytest.mark.usefixtures("target")

# Narrow products take 32 columns at a time, wide ones 16 and blocks of 64 to 512.
INNER = (28, 31, 32, 33, 36, 63, 64, 65, 129)
# One for each way: few entries in flight, many, several tiles, part of a vector, several vectors.
WIDTHS = (1, 2, 5, 8, 9, 12, 17, 40)


@pytest.mark.usefixtures("tuned_as_amd")
@pytest.mark.parametrize("mix", MIXES, ids=str)
def test_tails_of_every_step(mix):
    rng = np.random.default_rng(1)
    for k in INNER:
        operand = cases.sparse24(cases.random_dense(rng, (19, k), 0.6, mix.values))
        wide = cases.numbers(rng, (k, max(WIDTHS)), mix.x)
        for n in WIDTHS:
            X = np.ascontiguousarray(wide[:, :n])
            products.check_product(operand, X, mix, rng, f"k={k}, n={n}")


@pytest.mark.usefixtures("tuned_as_amd")
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_blocks_of_columns_and_strips_of_rows(dtype):
    rng = np.random.default_rng(2)
    operand = cases.sparse24(cases.random_dense(rng, (259, 1030), 0.5, dtype))
    wide = cases.numbers(rng, (1030, 140), dtype)
    for n in (1, 30, 140):
        for layout in ("C", "F"):
            X = cases.laid_out(wide[:, :n], layout)
            products.check_product(operand, X, Mix(dtype, dtype), rng, f"n={n}, {layout}")


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_number_of_vectors_by_either_way_to_load_values(dtype):
    """One row more than any number of them that kernels take at a time; the bits are the same."""
    rng = np.random.default_rng(7)
    operand = cases.sparse24(cases.random_dense(rng, (73, 90), 0.6, dtype))
    wide = cases.numbers(rng, (90, 128), dtype)
    try:
        for n in range(13, 129, 5):
            X = np.ascontiguousarray(wide[:, :n])
            results = []
            for picks in (False, True):
                _core.tune_as_amd(picks)
                products.check_product(operand, X, Mix(dtype, dtype), rng, f"n={n}, {picks}")
                results.append(operand.matrix @ X)
            np.testing.assert_array_equal(*results, f"n={n}")
    finally:
        _core.tune_as_amd(None)


@pytest.mark.usefixtures("tuned_as_amd")
def test_few_rows():
    """Fewer rows than the kernels take at a time, and one more."""
    rng = np.random.default_rng(3)
    for m in range(1, 21):
        operand = cases.sparse24(cases.random_dense(rng, (m, 70), 0.6, F32))
        for n in WIDTHS:
            X = cases.numbers(rng, (70, n), F32)
            products.check_product(operand, X, Mix(F32, F32), rng, f"m={m}, n={n}")


@pytest.mark.usefixtures("tuned_as_amd")
@pytest.mark.parametrize("k", [30, 33, 66, 257])
def test_slots_of_the_padding_never_multiply(k):
    """Values are the caller's: what is written to such a slot later does not matter."""
    rng = np.random.default_rng(4)
    S = cases.sparse24(cases.random_dense(rng, (19, k), 0.1, F32)).matrix
    values = np.array(S.values)
    S = sc.Sparse24((values, S.metadata), S.shape)
    # The last group, where it is under-full, points at its last two columns.
    slots = np.stack([S.metadata & 3, S.metadata >> 2 & 3, S.metadata >> 4 & 3, S.metadata >> 6])
    columns = np.moveaxis(slots, 0, 2).reshape(19, -1)[:, : values.shape[1]]
    columns = columns + np.arange(values.shape[1]) // 2 * 4
    assert (columns >= k).any()
    for n in WIDTHS:
        X = cases.numbers(rng, (k, n), F32)
        values[columns >= k] = 0
        wanted = S @ X
        values[columns >= k] = np.nan
        np.testing.assert_array_equal(S @ X, wanted, f"n={n}")


@pytest.mark.parametrize("dtype", [F32, I8], ids=str)
def test_bits_do_not_depend_on_threads_or_order(dtype):
    rng = np.random.default_rng(5)
    S = cases.sparse24(cases.random_dense(rng, (301, 250), 0.5, dtype)).matrix
    for n in (1, 2, 8, 12, 40, 131):
        X = cases.numbers(rng, (250, n), dtype)
        one = sc.sparse24_matmul(S, X, threads=1)
        for threads in (2, 3):
            many = sc.sparse24_matmul(S, X, threads=threads)
            np.testing.assert_array_equal(many, one, f"n={n}, {threads} threads")
        other = sc.sparse24_matmul(S, np.asfortranarray(X), threads=2)
        np.testing.assert_array_equal(other, one, f"n={n}, column-major")


def test_epilogue_and_strided_results():
    rng = np.random.default_rng(6)
    operand = cases.sparse24(cases.random_dense(rng, (37, 44), 0.6, F32))
    bias = cases.numbers(rng, 37, F32)
    for n in WIDTHS:
        X = cases.numbers(rng, (44, n), F32)
        plain = operand.matrix @ X
        out = np.full((37, 2 * n), np.nan, F32)
        sc.sparse24_matmul(operand.matrix, X, out=out[:, ::2])
        np.testing.assert_array_equal(out[:, ::2], plain, f"n={n}")
        assert np.isnan(out[:, 1::2]).all()
        Y = sc.linear(X.T, operand.matrix, bias, activation="relu")
        np.testing.assert_array_equal(Y.T, np.maximum(plain + bias[:, None], 0), f"n={n}")


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("k", [36, 33])
def test_products_from_the_left(dtype, k):
    """By the slots as CSR: stored zeros multiply, slots of the padding do not."""
    rng = np.random.default_rng(8)
    operand = cases.sparse24(cases.random_dense(rng, (19, k), 0.6, dtype))
    for n in (1, 5, 40):
        X = cases.numbers(rng, (n, 19), dtype)
        result = oracle.result_dtype(dtype, dtype)
        want = oracle.product(operand.W.T, operand.stored.T, X.T, result)
        oracle.check((X @ operand.matrix).T, want, f"n={n}")
        want = oracle.product(operand.W.T, operand.stored.T, X[0], result)
        oracle.check(X[0] @ operand.matrix, want, f"n={n}, a vector")
    with pytest.raises(ValueError, match="X has 18 rows, A has 19 columns"):
        X[:, :18] @ operand.matrix


def test_other_values_share_the_structure():
    rng = np.random.default_rng(9)
    S = cases.sparse24(cases.random_dense(rng, (3, 12), 0.6, F32)).matrix
    twice = S.with_data(np.asarray(S.values) * 2)
    assert twice._structure is S._structure
    np.testing.assert_array_equal(twice.toarray(), 2 * S.toarray())
    with pytest.raises(ValueError, match=r"with_data: data has shape \(3, 5\), expected \(3, 6\)"):
        S.with_data(S.values[:, :5])
    with pytest.raises(TypeError, match="with_data: data has dtype int32"):
        S.with_data(S.values.astype(np.int32))
