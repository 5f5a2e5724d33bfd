"""What save and load are given: names, matrices, frameworks."""

import pytest
import scipy.sparse

import sparsecore as sc
from format_cases import LECTURE, lecture


@pytest.mark.parametrize("name", ["A.pkl", "A", "A.npy", "A.safetensors.gz"])
def test_other_suffixes(tmp_path, name):
    with pytest.raises(ValueError, match=r"expected \.safetensors or \.npz"):
        sc.save(tmp_path / name, lecture())
    with pytest.raises(ValueError, match=r"expected \.safetensors or \.npz or \.smtx"):
        sc.load(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_matrix(tmp_path):
    for thing in (LECTURE, scipy.sparse.csr_array(LECTURE), lecture().T, None):
        with pytest.raises(TypeError, match="save: A is a"):
            sc.save(tmp_path / "A.safetensors", thing)


def test_unknown_framework(tmp_path):
    sc.save(tmp_path / "A.npz", lecture())
    with pytest.raises(ValueError, match="'jax'"):
        sc.load(tmp_path / "A.npz", framework="jax")


@pytest.mark.parametrize("suffix", [".safetensors", ".npz", ".smtx"])
def test_missing_file(tmp_path, suffix):
    with pytest.raises(FileNotFoundError):
        sc.load(tmp_path / f"A{suffix}")
