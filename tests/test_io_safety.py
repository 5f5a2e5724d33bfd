"""What no file can make load do: take more memory than its size warrants, or run code."""

import pickle
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

import sparsecore as sc
from file_cases import claims, npz, patched_sizes, rewritten, saved, set_entry


def peak_of_failed_load(path: Path) -> int:
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=path.name):
            sc.load(path)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_nothing_is_allocated_beyond_the_file(tmp_path):
    """A megabyte is far more than these files hold, and far less than they claim."""
    tensors = tmp_path / "A.safetensors"
    content = saved(tensors)
    lies = [
        rewritten(content, set_entry("data", "shape", [2**30])),
        rewritten(content, set_entry("__metadata__", "shape", f"{2**40} 4")),
        rewritten(
            content,
            lambda h: h | {"data": h["data"] | {"shape": [2**30], "data_offsets": [0, 2**33]}},
        ),
    ]
    for lie in lies:
        tensors.write_bytes(lie)
        assert peak_of_failed_load(tensors) < 2**20
    archive = tmp_path / "A.npz"
    for members in ({"data": claims((2**30,))}, {"shape": np.array([2**40, 4])}):
        assert peak_of_failed_load(npz(archive, **members)) < 2**20
    npz(archive)
    archive.write_bytes(patched_sizes(archive.read_bytes(), b"data.npy", claimed=2**31))
    assert peak_of_failed_load(archive) < 2**20
    pattern = tmp_path / "A.smtx"
    pattern.write_text(f"4, 4, {2**40}\n0 2 3 5 6\n1 3 2 0 1 3")
    assert peak_of_failed_load(pattern) < 2**20


def test_no_pickle_in_any_file(tmp_path):
    for suffix in (".safetensors", ".npz"):
        content = saved(tmp_path / f"A{suffix}")
        assert b"sparsecore" not in content
        with pytest.raises(pickle.UnpicklingError):
            pickle.loads(content)
