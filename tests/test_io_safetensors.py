"""safetensors: written and read back, and what the safetensors package sees."""

import numpy as np
import pytest
import safetensors
import safetensors.numpy
from hypothesis import given

import sparsecore as sc
from file_cases import matrices
from format_cases import EXAMPLES_SHARE_FIXTURES, lecture
from oracle import F16, F32, F64, I8


@EXAMPLES_SHARE_FIXTURES
@given(matrices())
def test_round_trip(tmp_path, A):
    path = tmp_path / "A.safetensors"
    sc.save(path, A)
    made = sc.load(path)
    made.check()
    assert type(made) is type(A)
    assert made.equals(A)
    assert made.nbytes == A.nbytes
    # 8 bytes of length, a header of a few hundred, and exactly what is stored.
    assert path.stat().st_size - A.nbytes < 600


@pytest.mark.parametrize("dtype", [F64, F32, F16, I8], ids=str)
def test_safetensors_reads_ours(tmp_path, dtype):
    A = lecture(dtype)
    sc.save(tmp_path / "A.safetensors", A)
    arrays = safetensors.numpy.load_file(tmp_path / "A.safetensors")
    assert {key: array.dtype for key, array in arrays.items()} == {
        "data": dtype,
        "indices": np.uint8,
        "indptr": np.uint8,
    }
    np.testing.assert_array_equal(arrays["data"], A.data)
    with safetensors.safe_open(tmp_path / "A.safetensors", framework="numpy") as file:
        expected = {"format": "csr", "version": "1", "shape": "4 4", "dtype": dtype.name}
        assert file.metadata() == expected
