"""Matrices of tensors in files: the same bytes, loaded as tensors, saved only while they fit."""

import itertools
import re

import numpy as np
import pytest

import sparsecore as sc
from file_cases import NPZ_DTYPES
from format_cases import FORMATS, LECTURE, lecture, values_of
from oracle import DTYPES, I8


@pytest.mark.parametrize(
    ("fmt", "dtype", "suffix"),
    [
        *itertools.product(FORMATS, DTYPES, [".safetensors"]),
        *itertools.product(["coo", "csr"], NPZ_DTYPES, [".npz"]),
    ],
    ids=str,
)
def test_torch_saves_the_same_file(tmp_path, fmt, dtype, suffix):
    torch = pytest.importorskip("torch")
    parameter = torch.tensor(LECTURE).to(getattr(torch, dtype.name))
    parameter.requires_grad = dtype != I8
    ours, theirs = tmp_path / f"numpy{suffix}", tmp_path / f"torch{suffix}"
    sc.save(ours, FORMATS[fmt].from_dense(LECTURE.astype(dtype)))
    sc.save(theirs, FORMATS[fmt].from_dense(parameter))
    if suffix == ".safetensors":
        assert ours.read_bytes() == theirs.read_bytes()
    made = sc.load(ours, framework="torch")
    assert made.dtype == parameter.dtype
    assert not made.toarray().requires_grad
    assert made.equals(sc.load(theirs))
    assert torch.equal(made.toarray(), parameter.detach())


def test_loading_copies_nothing_that_is_not_writable(tmp_path):
    torch = pytest.importorskip("torch")
    sc.save(tmp_path / "A.safetensors", lecture(np.float32))
    A = sc.load(tmp_path / "A.safetensors", framework="torch")
    A.data.mul_(2)
    assert torch.equal(A.toarray(), torch.tensor(LECTURE * 2).float())


@pytest.mark.parametrize("suffix", [".safetensors", ".npz"])
@pytest.mark.parametrize("fmt", FORMATS)
def test_values_that_no_longer_fit_are_not_saved(tmp_path, fmt, suffix):
    torch = pytest.importorskip("torch")
    A = FORMATS[fmt].from_dense(torch.tensor(LECTURE))
    values = values_of(A)
    expected = tuple(values.shape)
    for other in (values[:-1].clone(), torch.ones(7), torch.tensor(1.0)):
        values.data = other
        message = re.escape(f"has shape {tuple(other.shape)}, expected {expected}")
        with pytest.raises(ValueError, match=f"save: .*{message}"):
            sc.save(tmp_path / f"A{suffix}", A)
        assert list(tmp_path.iterdir()) == []
