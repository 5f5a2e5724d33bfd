"""Other values in the same structure, in another dtype, and values that no longer fit."""

import re

import numpy as np
import pytest

import sparsecore as sc
from format_cases import FORMATS, LECTURE, lecture
from oracle import BF16, DTYPES


def test_with_data_shares_the_structure():
    A = lecture()
    B = A.with_data(np.arange(6, dtype=np.float32))
    assert B._structure is A._structure
    assert A.same_structure(B)
    assert B.dtype == np.float32
    assert A.with_data([1.0] * 6).dtype == np.float64
    with pytest.raises(ValueError, match="length 5, the matrix 6"):
        A.with_data(np.ones(5))
    with pytest.raises(TypeError, match="axes"):
        A.with_data(np.ones((6, 1)))
    with pytest.raises(TypeError, match="int64"):
        A.with_data(np.ones(6, np.int64))


# ---- another dtype ----


@pytest.mark.parametrize("source", DTYPES, ids=str)
@pytest.mark.parametrize("wanted", DTYPES, ids=str)
@pytest.mark.parametrize("fmt", FORMATS)
def test_astype(fmt, wanted, source):
    A = FORMATS[fmt].from_dense(LECTURE.astype(source))
    made = A.astype(wanted)
    assert made.dtype == wanted
    np.testing.assert_array_equal(made.toarray(), LECTURE.astype(wanted))
    assert made.equals(FORMATS[fmt].from_dense(LECTURE.astype(wanted)))
    assert made.equals(A) == (source == wanted)
    with pytest.raises(TypeError, match="int32"):
        made.astype(np.int32)


def test_astype_takes_names_and_dtypes_of_either_library():
    torch = pytest.importorskip("torch")
    assert lecture().astype("bfloat16").dtype == BF16
    assert lecture().astype(torch.bfloat16).dtype == BF16
    A = sc.CSR.from_dense(torch.tensor(LECTURE))
    assert A.astype("float16").dtype == A.astype(torch.float16).dtype == torch.float16
    with pytest.raises(TypeError, match=r"torch\.int32"):
        A.astype(torch.int32)


# ---- tensors whose shape was changed behind the matrix's back ----


def coo(values):
    return sc.COO((values, ([1, 0, 1], [2, 3, 2])), shape=(2, 4))


def csr(values):
    return lecture().with_data(values)


def sparse24(values):
    return sc.Sparse24((values, np.full((2, 1), 0xEE, np.uint8)), (2, 8))


@pytest.mark.parametrize("grad", [False, True], ids=["plain", "grad"])
@pytest.mark.parametrize(
    ("make", "shape", "others", "conversions"),
    [
        (coo, (3,), [(), (1,), (4,), (3, 2)], ["toarray", "tocsr"]),
        (csr, (6,), [(), (1,), (7,), (6, 2)], ["toarray"]),
        (sparse24, (2, 4), [(), (1, 4), (2, 3), (2, 6), (3, 4), (8,)], ["toarray"]),
    ],
    ids=["coo", "csr", "sparse24"],
)
def test_values_that_no_longer_fit(make, shape, others, conversions, grad):
    torch = pytest.importorskip("torch")
    values = torch.nn.Parameter(torch.ones(shape), requires_grad=grad)
    A = make(values)
    for other in others:
        values.data = torch.ones(other)  # one value would spread over all positions
        message = re.escape(f"has shape {other}, expected {shape}")
        for conversion in conversions:
            with pytest.raises(ValueError, match=rf"(data|values) {message}"):
                getattr(A, conversion)()


def test_check_sees_values_that_no_longer_fit():
    torch = pytest.importorskip("torch")
    data = torch.ones(6)
    A = lecture().with_data(data)
    data.resize_(4)
    with pytest.raises(ValueError, match="length 4"):
        A.check()
