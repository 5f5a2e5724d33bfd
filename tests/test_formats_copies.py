"""Copies of every format: by copy, by pickle, on a device."""

import copy
import pickle
import sys

import numpy as np
import pytest
from hypothesis import given

import sparsecore as sc
from format_cases import FORMATS, LECTURE, dense_matrices, lecture, triplets, values_of


@pytest.mark.parametrize("fmt", FORMATS)
def test_copies_have_their_own_values_and_shallow_ones_share_them(fmt):
    A = FORMATS[fmt].from_dense(LECTURE)
    for made in (A.copy(), copy.deepcopy(A)):
        assert made.equals(A)
        assert not np.shares_memory(values_of(made), values_of(A))
    assert np.shares_memory(values_of(copy.copy(A)), values_of(A))


def test_a_matrix_is_itself_in_its_own_format():
    A, B = lecture(), lecture().tocoo()
    assert A.tocsr() is A
    assert B.tocoo() is B


@pytest.mark.parametrize("fmt", FORMATS)
def test_to_device(fmt):
    A = FORMATS[fmt].from_dense(LECTURE)
    assert A.to("cpu").equals(A)
    torch = sys.modules.get("torch")
    has_cuda = torch is not None and torch.cuda.is_available()
    for device in ("meta",) if has_cuda else ("cuda", "cuda:1"):
        with pytest.raises(RuntimeError, match=f"'{device}'"):
            A.to(device)


def test_deepcopy_of_a_parameter():
    torch = pytest.importorskip("torch")
    data = torch.nn.Parameter(torch.ones(6))
    made = copy.deepcopy(lecture().with_data(data))
    assert isinstance(made.data, torch.nn.Parameter)
    assert made.data is not data


# ---- pickle ----


@given(dense_matrices())
def test_csr_is_pickled(W):
    A = sc.CSR.from_dense(W)
    made = pickle.loads(pickle.dumps(A))
    assert made.equals(A)
    assert (made.indices.dtype, made.indptr.dtype) == (A.indices.dtype, A.indptr.dtype)


@given(triplets())
def test_coo_is_pickled(arrays):
    data, row, col, shape = arrays
    A = sc.COO((data, (row, col)), shape)
    assert pickle.loads(pickle.dumps(A)).equals(A)


def test_csr_is_pickled_with_a_parameter():
    torch = pytest.importorskip("torch")
    A = lecture().with_data(torch.nn.Parameter(torch.arange(6.0)))
    made = pickle.loads(pickle.dumps(A))
    assert isinstance(made.data, torch.nn.Parameter)
    assert made.equals(A)


@pytest.mark.parametrize("fmt", FORMATS)
def test_tensors_are_pickled(fmt):
    torch = pytest.importorskip("torch")
    A = FORMATS[fmt].from_dense(torch.tensor(LECTURE).float())
    made = pickle.loads(pickle.dumps(A))
    assert values_of(made).dtype == torch.float32
    assert made.equals(A)


@pytest.mark.parametrize(
    ("A", "stored", "wrong", "error", "message"),
    [
        (
            sc.COO(([1.0, 2.0], ([17, 42], [0, 1])), shape=(50, 2)),
            b"\x11\x2a",
            b"\x11\xff",
            IndexError,
            "row index 255 at position 1",
        ),
        (
            sc.CSR(([1.0, 2.0], [17, 42], [0, 1, 2]), shape=(2, 99)),
            b"\x11\x2a",
            b"\x11\xff",
            IndexError,
            "row 1 at position 1",
        ),
        (
            sc.CSR(([1.0, 2.0], [17, 42], [0, 1, 2]), shape=(2, 99)),
            b"\x00\x01\x02",
            b"\x00\x02\x01",
            ValueError,
            "row 1",
        ),
        (
            sc.Sparse24((np.zeros((1, 12)), np.array([[0x9C, 0xED, 0x84]], np.uint8)), (1, 24)),
            b"\x9c\xed\x84",
            b"\x9c\xed\x04",
            ValueError,
            "row 0, group 5",
        ),
    ],
    ids=["coo rows", "csr columns", "csr offsets", "sparse24 metadata"],
)
def test_a_pickle_is_validated_when_loaded(A, stored, wrong, error, message):
    content = pickle.dumps(A)
    assert content.count(stored) == 1
    with pytest.raises(error, match=message):
        pickle.loads(content.replace(stored, wrong))
