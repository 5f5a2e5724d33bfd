"""files/tensor_writing.py: nothing is half written, and what cannot be written is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

import sparsecore as sc
from format_cases import lecture


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_a_failure_leaves_the_older_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "m.safetensors"
    weights = {name: np.ones(3) for name in "abc"}
    sc.save_checkpoint(path, weights, shard_bytes=1)
    before = contents(tmp_path)
    save, calls = safetensors.numpy.save_file, 0

    def fails_at_the_third(*arguments: Any, **options: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise OSError(28, "No space left on device")
        save(*arguments, **options)

    monkeypatch.setattr(safetensors.numpy, "save_file", fails_at_the_third)
    with pytest.raises(OSError, match="No space left"):
        sc.save_checkpoint(path, {name: np.zeros(3) for name in "abc"}, shard_bytes=1)
    assert contents(tmp_path) == before


def test_there_is_no_index_while_shards_are_exchanged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Were the power cut between two exchanges, what is left would not load."""
    path, index = tmp_path / "m.safetensors", tmp_path / "m.safetensors.index.json"
    weights = {name: np.ones(3) for name in "abc"}
    replace, seen = Path.replace, []

    def noted(self: Path, target: Path) -> Path:
        seen.append((target.name, index.exists()))
        return replace(self, target)

    sc.save_checkpoint(path, weights, shard_bytes=1)
    monkeypatch.setattr(Path, "replace", noted)
    sc.save_checkpoint(path, weights, shard_bytes=1)
    assert not any(there for _, there in seen)
    assert seen[-1][0] == index.name
    assert len(seen) == 4


@pytest.mark.parametrize(
    ("weights", "error", "message"),
    [
        ({"fc": lecture()}, ValueError, "'fc' is not called 'weight'"),
        ({"fc.weight": [[1.0]]}, TypeError, "is a list"),
        ({"x": np.array(["a"])}, TypeError, "'x' has dtype <U1"),
        ({"x": np.zeros(1, complex)}, TypeError, "'x' has dtype complex128"),
        ({"__metadata__": np.zeros(1)}, ValueError, "keeps for itself"),
    ],
)
def test_what_cannot_be_saved_leaves_what_was_there(
    tmp_path: Path, weights: dict[str, Any], error: type[Exception], message: str
) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"before")
    with pytest.raises(error, match=message):
        sc.save_checkpoint(path, weights)
    assert [file.read_bytes() for file in tmp_path.iterdir()] == [b"before"]


def test_arguments(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"ends in '.pt', expected '.safetensors'"):
        sc.save_checkpoint(tmp_path / "model.pt", {})
    with pytest.raises(ValueError, match="shard_bytes is 0"):
        sc.save_checkpoint(tmp_path / "m.safetensors", {}, shard_bytes=0)
    shapes = {"fc.weight": (4, 1, 2, 3)}
    with pytest.raises(ValueError, match=r"has shape \(4, 4\), weight_shapes \(4, 1, 2, 3\)"):
        sc.save_checkpoint(
            tmp_path / "m.safetensors", {"fc.weight": lecture()}, weight_shapes=shapes
        )
    with pytest.raises(ValueError, match=r"names 'fc.weight', which is no matrix"):
        sc.save_checkpoint(tmp_path / "m.safetensors", {}, weight_shapes=shapes)
