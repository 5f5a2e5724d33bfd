"""checkpoint.py, checkpoint_save.py: whole models' weights, written and read without torch."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from safetensors.numpy import load_file

import sparsecore as sc
from file_cases import matrices
from format_cases import EXAMPLES_SHARE_FIXTURES, lecture


def same(one: Any, other: Any) -> bool:
    if isinstance(one, np.ndarray):
        return (
            one.dtype == other.dtype
            and one.shape == other.shape
            and one.tobytes() == other.tobytes()
        )
    return bool(one.equals(other))


def two_layers() -> dict[str, Any]:
    """Return a CSR weight, a 2:4 one and ordinary tensors."""
    rng = np.random.default_rng(0)
    W = rng.standard_normal((6, 300)).astype(np.float32)
    return {
        "a.weight": sc.CSR.from_dense(np.where(rng.random(W.shape) < 0.1, W, 0)),
        "a.bias": np.arange(6, dtype=np.float32),
        "b.weight": sc.Sparse24.from_dense(W[:, :16], prune=True),
        "steps": np.array(7),
    }


@given(weights=st.lists(matrices(formats=("csr", "sparse24")), max_size=4))
@hypothesis_settings(EXAMPLES_SHARE_FIXTURES, max_examples=30)
def test_what_is_written_is_read(tmp_path: Path, weights: list[Any]) -> None:
    path = tmp_path / "model.safetensors"
    named = {f"layers.{i}.weight": weight for i, weight in enumerate(weights)}
    sc.save_checkpoint(path, named)
    loaded = dict(sc.load_checkpoint(path))
    assert loaded.keys() == named.keys()
    for name, weight in named.items():
        assert same(loaded[name], weight)


@pytest.mark.parametrize(
    "dtype",
    [bool, np.uint8, np.int64, np.uint16, np.float16, "bfloat16", "float8_e4m3fn", "float8_e5m2"],
)
def test_ordinary_tensors_of_every_dtype(tmp_path: Path, dtype: Any) -> None:
    path = tmp_path / "model.safetensors"
    dtype = np.dtype(dtype)
    arrays = {"x": np.arange(6).reshape(2, 3).astype(dtype).T, "empty": np.zeros((0, 3), dtype)}
    sc.save_checkpoint(path, arrays)
    loaded = sc.load_checkpoint(path)
    assert all(same(loaded[name], np.ascontiguousarray(array)) for name, array in arrays.items())


def test_the_layout(tmp_path: Path) -> None:
    """The bytes that docs/checkpoints.md promises, of the lecture's matrix."""
    path = tmp_path / "model.safetensors"
    size = sc.save_checkpoint(path, {"fc.weight": lecture(), "fc.bias": np.zeros(4)})
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    assert json.loads(header["__metadata__"]["sparsecore"]) == {
        "version": 1,
        "layers": {"fc": {"format": "csr", "weight_shape": [4, 4]}},
    }
    stored = load_file(path)
    assert {name: array.tolist() for name, array in stored.items()} == {
        "fc.values": [3, 7, 8, 2, 5, 9],
        "fc.indices": [1, 3, 2, 0, 1, 3],
        "fc.indptr": [0, 2, 3, 5, 6],
        "fc.bias": [0, 0, 0, 0],
    }
    assert stored["fc.indices"].dtype == stored["fc.indptr"].dtype == np.int8
    assert (size.values, size.indices, size.dense) == (48, 11, 32)
    assert (size.original, size.total) == (16 * 8 + 32, len(content))


def test_the_same_weights_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        sc.save_checkpoint(tmp_path / f"{name}.safetensors", two_layers())
    assert (tmp_path / "one.safetensors").read_bytes() == (
        tmp_path / "two.safetensors"
    ).read_bytes()


def test_a_convolution_keeps_its_dense_shape(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    A = sc.CSR.from_dense(np.eye(4, 18))
    sc.save_checkpoint(path, {"c.weight": A}, weight_shapes={"c.weight": [4, 2, 3, 3]})
    loaded = sc.load_checkpoint(path)
    assert loaded.header.layers["c"].weight_shape == (4, 2, 3, 3)
    assert same(loaded["c.weight"], A)


def test_shards(tmp_path: Path) -> None:
    weights = two_layers()
    size = sc.save_checkpoint(tmp_path / "model.safetensors", weights, shard_bytes=100)
    files = sorted(path.name for path in tmp_path.iterdir())
    index = json.loads((tmp_path / files[-1]).read_text())
    assert files == [f"model-{i:05}-of-00004.safetensors" for i in range(1, 5)] + [
        "model.safetensors.index.json"
    ]
    where = index["weight_map"]
    for layer in ("a", "b"):  # larger than a shard, yet in one
        tensors = [
            name
            for name in where
            if name in sc.load_checkpoint(tmp_path).header.layers[layer].tensors(layer)
        ]
        assert len({where[name] for name in tensors}) == 1
    assert index["metadata"]["total_size"] == sum(
        array.nbytes for file in files[:-1] for array in load_file(tmp_path / file).values()
    )
    assert size.total == sum(path.stat().st_size for path in tmp_path.iterdir())
    for place in (tmp_path, tmp_path / files[-1], tmp_path / "model.safetensors"):
        loaded = sc.load_checkpoint(place)
        assert loaded.keys() == weights.keys()
        assert all(same(loaded[name], weight) for name, weight in weights.items())


def test_one_weight_is_read_alone(tmp_path: Path) -> None:
    """The others may be damaged: nobody looks at them."""
    path = tmp_path / "model.safetensors"
    sc.save_checkpoint(path, two_layers())
    entry = sc.load_checkpoint(path).files.entries["a.indices"]
    content = bytearray(path.read_bytes())
    content[entry.begin : entry.end] = b"\x80" * entry.nbytes
    path.write_bytes(content)
    loaded = sc.load_checkpoint(path)
    assert same(loaded["b.weight"], two_layers()["b.weight"])
    with pytest.raises(ValueError, match=r"model\.safetensors: layer 'a': .*column"):
        loaded["a.weight"]
    with pytest.raises(KeyError):
        loaded["c.weight"]


def test_torch_is_not_imported(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    weights = two_layers() | {"h.weight": two_layers()["a.weight"].astype("bfloat16")}
    sc.save_checkpoint(path, weights)
    code = f"""
import sys, sparsecore as sc
weights = dict(sc.load_checkpoint({str(path)!r}))
print(weights["h.weight"].dtype, "torch" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["bfloat16", "False"]
