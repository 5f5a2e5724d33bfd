"""A write is whole or leaves what was there, and leaves nothing else."""

from pathlib import Path

import numpy as np
import pytest

import sparsecore as sc
from format_cases import lecture


@pytest.mark.parametrize("suffix", [".safetensors", ".npz"])
def test_a_failed_write_leaves_what_was_there(tmp_path, monkeypatch, suffix):
    path = tmp_path / f"A{suffix}"
    sc.save(path, lecture())
    before = path.read_bytes()

    def fail(*_args):
        message = "disk full"
        raise OSError(message)

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        sc.save(path, lecture().astype(np.float32))
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == before


@pytest.mark.parametrize("suffix", [".safetensors", ".npz"])
def test_a_write_replaces_and_leaves_nothing_else(tmp_path, suffix):
    path = tmp_path / f"A{suffix}"
    sc.save(path, lecture())
    sc.save(path, lecture(np.float32))
    assert sc.load(path).dtype == np.float32
    assert list(tmp_path.iterdir()) == [path]
    plain = tmp_path / "plain"
    plain.touch()
    assert path.stat().st_mode == plain.stat().st_mode
