"""csr_matmul with A.T, which transposes nothing: csrc/plans/row_scatter.cpp."""

import numpy as np
import pytest

import cases
import oracle
import product_cases as products
import sparsecore as sc
from oracle import F32

pytestmark = pytest.mark.usefixtures("target")


@products.CSR_CHECKS
def test_products(check, arguments):
    check(cases.transposed, *arguments)


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
