"""Sizes past 2^31 and past memory: right or refused, never wrapped."""

import numpy as np
import pytest

import cases
import sparsecore as sc
from child import ADDRESS_SANITIZER, output
from oracle import F32


def test_more_than_2_31_elements_in_x():
    """70000 x 40000 fp32 in reserved memory, of which three rows are touched."""
    X = cases.reserved((70000, 40000), np.float32)
    X[3], X[69999, 0], X[69999, -1] = 1, 7, 9
    A = sc.CSR(([1.0, 2.0], [3, 69999], [0, 2]), shape=(1, 70000)).astype(F32)
    assert sc.csr_matmul(A, X)[0, [0, 1, -1]].tolist() == [15.0, 1.0, 19.0]


def test_strides_past_2_31_in_transposed_and_sampled_products():
    """Rows of X, U and V lie 40000 elements apart, the last ones past 2^31."""
    X = cases.reserved((70000, 40000), np.float32)[:, -3:]
    X[3], X[69999] = (1, 2, 3), (7, 8, 9)
    data = np.array([1, 2], F32)
    A = sc.CSR((data, [0, 0], np.repeat([0, 1, 2], [4, 69996, 1])), shape=(70000, 1))
    assert sc.csr_matmul(A.T, X).tolist() == [[15.0, 18.0, 21.0]]
    B = sc.CSR((data, [3, 69999], [0, 2]), shape=(1, 70000))
    assert sc.csr_sddmm(B, X[69999:], X).tolist() == [50.0, 194.0]
    assert sc.csr_sddmm(A, X, X[3:4]).tolist() == [14.0, 50.0]


def test_columns_past_2_31():
    """Gathers of 32-bit indices would take them for negative ones."""
    k = 2**31 + 50
    x = cases.reserved((k,), np.float32)
    x[-40:] = np.arange(40)
    A = sc.CSR((np.ones(40, F32), np.arange(k - 40, k), [0, 40]), shape=(1, k))
    assert sc.csr_matmul(A, x).tolist() == [780.0]
    assert sc.csr_matmul(A, x[:, None]).tolist() == [[780.0]]
    windows = np.lib.stride_tricks.as_strided(x, (k - 2, 3), (4, 4))
    A = sc.CSR((np.ones(38, F32), np.arange(k - 40, k - 2), [0, 38]), shape=(1, k - 2))
    assert sc.csr_matmul(A, windows).tolist() == [[703.0, 741.0, 779.0]]


def test_columns_past_2_32_are_refused():
    k = 2**32 + 2
    A = sc.CSR((np.ones(1, F32), [k - 1], [0, 1]), shape=(1, k))
    with pytest.raises(ValueError, match=f"{k}"):
        sc.csr_matmul(A, np.broadcast_to(F32.type(1), (k,)))
    out = np.lib.stride_tricks.as_strided(np.zeros(1, F32), (k,), (0,))
    with pytest.raises(ValueError, match=f"{k}"):
        sc.csr_matmul(A.T, np.ones(1, F32), out=out)


def test_a_result_too_large_for_memory():
    """2**32 x 2**20 float64 are 2**55 bytes."""
    A = sc.CSR(([1.0], [3], [0, 1]), shape=(1, 2**32))
    with pytest.raises(MemoryError):
        sc.csr_matmul(A.T, np.broadcast_to(1.0, (1, 2**20)))


def test_scratch_too_large_for_memory():
    """Columns of X without a stride are copied into a panel of 2**32 rows; 16 GiB are allowed."""
    if ADDRESS_SANITIZER:
        pytest.skip("the address sanitizer ends a process that is out of memory")
    printed = output(
        """
        import resource

        import numpy as np
        import sparsecore as sc

        A = sc.CSR(([1.0], [3], [0, 1]), shape=(1, 2**32))
        X = np.lib.stride_tricks.as_strided(np.ones(1), (2**32, 2**16), (0, 0))
        resource.setrlimit(resource.RLIMIT_AS, (2**34, 2**34))
        try:
            sc.csr_matmul(A, X)
        except MemoryError:
            print("MemoryError", sc.csr_matmul(A, X[:, :0]).shape)
        """
    )
    assert printed == "MemoryError (1, 0)"
