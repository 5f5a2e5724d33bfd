"""Every row of the bad-input table that concerns operations: an error that says what came.

What construction and files refuse is tested with the formats; `out` has its own file.
"""

import re

import numpy as np
import pytest
import scipy.sparse

import cases
import sparsecore as sc
from oracle import BF16, DTYPES, F16, F32, I8

LEFT = {"csr": cases.csr, "transposed": cases.transposed, "plan": cases.plan, "24": cases.sparse24}
NAMES = {"csr": "csr_matmul", "transposed": "csr_matmul", "plan": "csr_matmul"}


def square(left, dtype=np.float32):
    return LEFT[left](np.eye(8, dtype=dtype)).matrix


# ---- shapes ----


@pytest.mark.parametrize("left", LEFT)
def test_wrong_inner_dimension(left):
    matrix = LEFT[left](np.eye(8, 16)).matrix
    name = NAMES.get(left, "sparse24_matmul")
    for X in (np.ones(8), np.ones((8, 3)), np.ones((0, 3)), np.ones((17, 0))):
        message = f"^{name}: X has {len(X)} rows, A has 16 columns$"
        with pytest.raises(ValueError, match=message):
            cases.multiply(matrix, X)
    with pytest.raises(ValueError, match=r"^linear: x has 8 features, A has 16 columns$"):
        sc.linear(np.ones((2, 8)), matrix)


@pytest.mark.parametrize("left", LEFT)
def test_wrong_number_of_axes(left):
    matrix = square(left)
    for X in (np.ones((8, 1, 1), np.float32), np.float32(1), np.ones((), np.float32)):
        with pytest.raises(TypeError, match=r"X has [03] dimensions"):
            cases.multiply(matrix, X)
    with pytest.raises(TypeError, match="x has no axis"):
        sc.linear(np.ones((), np.float32), matrix)
    with pytest.raises(TypeError, match="W has no axis"):
        sc.prune_24(np.ones(()))


@pytest.mark.parametrize("left", LEFT)
def test_wrong_vectors(left):
    matrix = square(left)
    x = np.ones((3, 8), np.float32)
    for bad in (np.ones(7, F32), np.ones(9, F32), np.ones(1, F32), np.ones(0, F32)):
        with pytest.raises(ValueError, match=rf"scale has .*{len(bad)}"):
            cases.multiply(matrix, x.T, scale=bad)
        with pytest.raises(ValueError, match=rf"bias has .*{len(bad)}"):
            sc.linear(x, matrix, bad)
    for bad in (np.ones((8, 1), F32), np.ones((), F32)):
        with pytest.raises((TypeError, ValueError), match="scale has"):
            cases.multiply(matrix, x.T, scale=bad)
    for shape in ((8,), (1, 8), (3, 7), (8, 3), (1, 3, 8), (24,), (3, 8, 1), (3, 0)):
        with pytest.raises((TypeError, ValueError), match=r"linear: residual has"):
            sc.linear(x, matrix, residual=np.ones(shape, F32))


@pytest.mark.parametrize("left", LEFT)
def test_residual_has_the_shape_of_the_result(left):
    """Not only its size: (3, 2, m) and (6, m) are no (2, 3, m)."""
    matrix = square(left)
    x = np.ones((2, 3, 8), np.float32)
    for shape in ((3, 2, 8), (6, 8), (2, 3, 4, 2), (2, 24)):
        with pytest.raises((TypeError, ValueError), match=r"linear: residual has"):
            sc.linear(x, matrix, residual=np.ones(shape, F32))


# ---- dtypes and kinds ----


@pytest.mark.parametrize("left", LEFT)
def test_dtypes_that_are_none_of_ours(left):
    matrix = square(left)
    for dtype in (bool, np.int16, np.int64, np.uint8, np.complex64, object, ">f4", np.longdouble):
        X = np.ones((8, 2), dtype)
        with pytest.raises(TypeError, match=re.escape(str(X.dtype))):
            cases.multiply(matrix, X)
        with pytest.raises(TypeError, match=re.escape(str(X.dtype))):
            sc.linear(X.T, matrix)
    with pytest.raises(TypeError, match="int32"):
        cases.multiply(matrix, np.ones(8, np.int32))
    with pytest.raises(TypeError, match="<U1"):
        cases.multiply(matrix, np.full(8, "a"))


@pytest.mark.parametrize("left", LEFT)
def test_mixes_that_are_not_allowed_name_both_sides(left):
    allowed = {(d, d) for d in DTYPES} | {(F16, F32), (BF16, F32)}
    for values in DTYPES:
        matrix = square(left, values)
        for x in DTYPES:
            X = np.ones((8, 2), x)
            if (values, x) in allowed:
                cases.multiply(matrix, X)
                continue
            with pytest.raises(TypeError, match=f"A is {values}, X is {x}"):
                cases.multiply(matrix, X)
            if values == I8:
                assert cases.multiply(matrix, X, scale=np.ones(8, F32)).dtype == x


def test_scale_and_bias_are_floating():
    A = sc.CSR.from_dense(np.eye(8, dtype=np.float32))
    A8 = sc.CSR.from_dense(np.eye(8, dtype=np.int8))
    x = np.ones(8, np.float32)
    for bad in (np.ones(8, int), np.ones(8, I8), np.ones(8, bool), [1.0] * 8, 2.0, None):
        if bad is not None:
            with pytest.raises(TypeError, match="scale"):
                sc.csr_matmul(A, x, scale=bad)
            with pytest.raises(TypeError, match="bias"):
                sc.linear(x, A, bad)
    with pytest.raises(TypeError, match=r"int8, X is float32.*scale"):
        sc.csr_matmul(A8, x)
    with pytest.raises(TypeError, match=r"scale.*int32|int32.*scale"):
        sc.csr_matmul(A8, np.ones(8, I8), scale=x)
    with pytest.raises(TypeError, match=r"residual is float64.*float32"):
        sc.linear(x, A, residual=np.ones(8))


def test_matrices_that_are_none():
    x = np.ones(4)
    A, S = sc.CSR.from_dense(np.eye(4)), sc.Sparse24.from_dense(np.eye(4))
    for bad in (None, np.eye(4), [[1.0]], S, A.tocoo(), "A", 3):
        with pytest.raises(TypeError, match=type(bad).__name__):
            sc.csr_matmul(bad, x)
    for bad in (None, np.eye(4), A, A.T, A.prepare(), scipy.sparse.eye_array(4)):
        with pytest.raises(TypeError, match=f"sparse24_matmul: S is a {type(bad).__name__}"):
            sc.sparse24_matmul(bad, x)
    for bad in (None, [[1.0]], A.tocoo(), 3):
        with pytest.raises(TypeError, match=type(bad).__name__):
            sc.linear(x, bad)


def test_right_sides_that_are_none():
    A, S = sc.CSR.from_dense(np.eye(4)), sc.Sparse24.from_dense(np.eye(4))
    for bad in (None, A, A.to_scipy(), "x", {}):
        for call in (
            lambda x: sc.csr_matmul(A, x),
            lambda x: sc.sparse24_matmul(S, x),
            lambda x: sc.linear(x, A),
            lambda x: sc.linear(x, np.eye(4)),
            lambda x: sc.csr_sddmm(A, x, x),
            sc.prune_24,
        ):
            with pytest.raises(TypeError):
                call(bad)


def test_a_list_of_numbers_is_an_array():
    A = sc.CSR.from_dense(np.eye(2))
    assert sc.csr_matmul(A, [1.0, 2.0]).tolist() == [1.0, 2.0]
    assert sc.linear([1.0, 2.0], A).tolist() == [1.0, 2.0]
    assert ([1.0, 2.0] @ A).tolist() == [1.0, 2.0]


def test_prune_24_refuses_other_dtypes():
    for dtype in (np.int32, np.int64, np.uint8, bool, object, np.complex64, ">f4"):
        with pytest.raises(TypeError, match=r"W has dtype|prune_24: W"):
            sc.prune_24(np.ones(8, dtype))


def test_nothing_becomes_dense_by_itself():
    A, S = sc.CSR.from_dense(np.eye(4)), sc.Sparse24.from_dense(np.eye(4))
    for matrix in (A, A.T, S, A.tocoo()):
        with pytest.raises(TypeError, match=r"toarray\(\).*128 bytes"):
            np.asarray(matrix)


# ---- options ----


def test_threads():
    A = sc.CSR.from_dense(np.eye(4))
    for bad in (0, -1, 2**40):
        with pytest.raises(ValueError, match="threads"):
            sc.csr_matmul(A, np.ones(4), threads=bad)
        with pytest.raises(ValueError, match="count"):
            sc.set_num_threads(bad)
    for bad in (1.5, "2", [1]):
        with pytest.raises(TypeError, match="threads"):
            sc.csr_matmul(A, np.ones(4), threads=bad)
        with pytest.raises(TypeError, match="count"):
            sc.set_num_threads(bad)


@pytest.mark.parametrize("matrix", [np.eye(4), sc.CSR.from_dense(np.eye(4))], ids=["dense", "CSR"])
def test_activations_that_are_none(matrix):
    for bad in ("tanh", "RELU", ""):
        with pytest.raises(ValueError, match=f"linear: activation is '{bad}'"):
            sc.linear(np.ones(4), matrix, activation=bad)
    for bad in (3, np.tanh):
        with pytest.raises((TypeError, ValueError), match="linear: activation is"):
            sc.linear(np.ones(4), matrix, activation=bad)
