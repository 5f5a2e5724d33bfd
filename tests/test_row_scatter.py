"""csr_matmul with A.T, which transposes nothing: csrc/plans/row_scatter.cpp."""

import numpy as np
import pytest

import cases
import oracle
import product_cases as products
import sparsecore as sc
from cases import FLOAT_MIXES, MIXES, SAME, Mix
from oracle import DTYPES, F16, F32, I8

pytestmark = pytest.mark.usefixtures("target")


@pytest.mark.parametrize("mix", MIXES, ids=str)
def test_shapes_and_layouts(mix):
    products.check_shapes_and_layouts(cases.transposed, mix)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_width(dtype):
    products.check_every_width(cases.transposed, dtype)


@pytest.mark.parametrize("mix", [*SAME, Mix(F16, F32), Mix(I8, F32, scaled=True)], ids=str)
def test_long_rows(mix):
    products.check_long_rows(cases.transposed, mix)


@pytest.mark.parametrize("mix", FLOAT_MIXES, ids=str)
def test_nan_and_infinity_reach_only_their_rows(mix):
    products.check_poison(cases.transposed, mix)


def test_int8_sums_are_exact_or_raise():
    products.check_int8_limit(cases.transposed)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_last_column_of_each_index_width(dtype):
    rng = np.random.default_rng(5)
    for k in (255, 256, 257, 65535, 65536, 65537):
        columns = np.array([0, 100, k - 2, k - 1])
        data = cases.numbers(rng, 8, dtype)
        A = sc.CSR((data, np.tile(columns, 2), [0, 4, 4, 8]), shape=(3, k))
        W = np.insert(data.reshape(2, 4), 1, 0, axis=0).T.astype(np.float64)
        for n in (1, 3, 17):
            X = cases.numbers(rng, (3, n), dtype)
            want = oracle.product(W, W != 0, X, oracle.result_dtype(dtype, dtype))
            Y = sc.csr_matmul(A.T, X)
            oracle.check(Y[columns], want, f"k={k}, n={n}")
            assert not np.delete(Y, columns, axis=0).any(), f"k={k}, n={n}"


def test_product_from_the_left():
    """X @ A and X @ A.T, with 1-D and 2-D X in both orders."""
    rng = np.random.default_rng(7)
    W = cases.random_dense(rng, (11, 17), 0.4, F32)
    for A, dense in ((sc.CSR.from_dense(W), W), (sc.CSR.from_dense(W).T, W.T)):
        want64 = dense.T.astype(np.float64)
        for shape in ((dense.shape[0],), (1, dense.shape[0]), (5, dense.shape[0])):
            X = cases.numbers(rng, shape, F32)
            for layout in cases.LAYOUTS:
                x = cases.laid_out(X, layout)
                want = oracle.product(want64, want64 != 0, x.T, F32)
                oracle.check((x @ A).T, want, f"{dense.shape}, {shape}, {layout}")


def test_a_plan_is_multiplied_from_the_left_too():
    P = sc.CSR.from_dense(np.array([[0.0, 2.0], [1.0, 0.0]])).prepare()
    assert (np.array([1.0, 10.0]) @ P).tolist() == [10.0, 2.0]


def test_transposing_twice_gives_the_matrix_itself():
    A = sc.CSR.from_dense(np.eye(3))
    assert A.T.T is A
