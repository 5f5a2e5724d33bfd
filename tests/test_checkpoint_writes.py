"""files/tensor_writing.py: nothing is half written, and what cannot be written is refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file

import sparsecore as sc
from child import killed
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


@pytest.mark.parametrize("exchanges", range(5))
def test_a_killed_run_leaves_one_whole_checkpoint(tmp_path: Path, exchanges: int) -> None:
    """Killed after each exchange of a file, the last of which is the index."""
    path = tmp_path / "m.safetensors"
    sc.save_checkpoint(path, {name: np.ones(3) for name in "abc"}, shard_bytes=1)
    code = f"""
        import numpy as np
        import sparsecore as sc
        zeros = {{name: np.zeros(3) for name in "abc"}}
        sc.save_checkpoint({str(path)!r}, zeros, shard_bytes=1)
    """
    killed(code, exchanges=exchanges)
    expected = 0 if exchanges == 4 else 1
    for place in (path, tmp_path):
        found = dict(sc.load_checkpoint(place))
        assert list(found) == ["a", "b", "c"]
        assert all((array == expected).all() for array in found.values())


def test_shards_are_called_plainly_where_they_can_be(tmp_path: Path) -> None:
    """Others than the older ones have a tag, and what was replaced is gone."""
    path = tmp_path / "m.safetensors"
    plain = {f"m-0000{i}-of-00003.safetensors" for i in (1, 2, 3)} | {f"{path.name}.index.json"}
    for value in range(3):
        sc.save_checkpoint(path, {n: np.full(3, value) for n in "abc"}, shard_bytes=1)
        names = set(contents(tmp_path))
        assert len(names) == 4
        assert (names == plain) == (value != 1)
        assert sc.load_checkpoint(path)["b"].tolist() == [value] * 3


def test_files_of_others_are_neither_written_over_nor_removed(tmp_path: Path) -> None:
    """Whether the index names them or not."""
    others = ("m-00002-of-00003.safetensors", "n-00001-of-00001.safetensors", "m-1.safetensors")
    for name in others:
        (tmp_path / name).write_bytes(b"of others")
    index = tmp_path / "m.safetensors.index.json"
    outside = ("../outside.safetensors", f"../{tmp_path.name}/{others[0]}", 7)
    index.write_text(json.dumps({"weight_map": dict(enumerate((*others[1:], *outside)))}))
    (tmp_path.parent / "outside.safetensors").write_bytes(b"of others")
    sc.save_checkpoint(tmp_path / "m.safetensors", dict.fromkeys("abc", np.ones(3)), shard_bytes=1)
    for name in (*others, "../outside.safetensors"):
        assert (tmp_path / name).read_bytes() == b"of others"
    assert sc.load_checkpoint(index)["c"].tolist() == [1, 1, 1]


def test_an_index_that_is_none_is_replaced(tmp_path: Path) -> None:
    index = tmp_path / "m.safetensors.index.json"
    for content in ("", "[]", "{}", '{"weight_map": 1}', '{"weight_map": [[]]}'):
        index.write_text(content)
        path = tmp_path / "m.safetensors"
        sc.save_checkpoint(path, dict.fromkeys("abc", np.ones(3)), shard_bytes=1)
        assert set(sc.load_checkpoint(path)) == set("abc")


def test_a_link_is_replaced_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "blob").write_bytes(b"of others")
    path = tmp_path / "m.safetensors"
    path.symlink_to(tmp_path / "blob")
    sc.save_checkpoint(path, {"a": np.ones(3)})
    assert not path.is_symlink()
    assert (tmp_path / "blob").read_bytes() == b"of others"


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
