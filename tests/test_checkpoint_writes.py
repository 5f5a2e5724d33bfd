"""files/tensor_writing.py: nothing is half written, and what cannot be written is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file

import sparsecore as sc
from format_cases import lecture
from oracle import Array
from sparsecore.files import tensor_writing
from sparsecore.files.tensor_reading import DTYPES, open_tensors
from sparsecore.files.tensor_writing import Planned, write_planned


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_files_are_those_of_the_package(tmp_path: Path) -> None:
    """What the package reads is what was written, each tensor aligned; float8 it only lists."""
    rng = np.random.default_rng(0)
    arrays = {
        code: rng.integers(0, 2, (3, 1 + i)).astype(dtype)
        for i, (code, dtype) in enumerate(DTYPES.items())
    }
    arrays |= {
        "empty": np.zeros((0, 4)),
        "number": np.array(3),
        "\u00fcber": np.asfortranarray(arrays["F32"]),
    }
    path = tmp_path / "m.safetensors"
    tensor_writing.write_tensors(path, arrays, metadata=lambda *_: {"a": "b"})
    with safe_open(path, framework="np") as file:
        assert file.metadata() == {"a": "b"}
    files = open_tensors(path)
    assert all(entry.begin % entry.dtype.itemsize == 0 for entry in files.entries.values())
    assert path.stat().st_size == files.nbytes
    for name, array in arrays.items():
        np.testing.assert_array_equal(files.read(name), array, strict=True)
    plain = {name: a for name, a in arrays.items() if not name.startswith(("F8", "BF16"))}
    tensor_writing.write_tensors(path, plain, metadata=lambda *_: {})
    loaded = load_file(path)
    assert loaded.keys() == plain.keys()
    for name, array in plain.items():
        np.testing.assert_array_equal(loaded[name], array, strict=True)


def test_a_tensor_is_asked_for_once_and_has_to_be_what_was_planned(tmp_path: Path) -> None:
    planned = {name: Planned.of(name, np.dtype(np.float32), (2,)) for name in "abc"}
    asked: list[str] = []

    def read(name: str) -> Array:
        asked.append(name)
        return np.ones(2, np.float32)

    path = tmp_path / "m.safetensors"
    write_planned(path, planned, read, metadata=lambda *_: {}, shard_bytes=16)
    assert asked == ["a", "b", "c"]
    with pytest.raises(ValueError, match="tensor 'a' has 12 bytes, expected 8"):
        write_planned(path, planned, lambda _: np.ones(3, np.float32), metadata=lambda *_: {})


def test_a_failure_leaves_the_older_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "m.safetensors"
    weights = {name: np.ones(3) for name in "abc"}
    sc.save_checkpoint(path, weights, shard_bytes=1)
    before = contents(tmp_path)
    write, calls = tensor_writing._write_one, 0

    def fails_at_the_third(*arguments: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise OSError(28, "No space left on device")
        write(*arguments)

    monkeypatch.setattr(tensor_writing, "_write_one", fails_at_the_third)
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
