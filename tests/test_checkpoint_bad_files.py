"""Checkpoints that lie, are cut or are damaged: ValueError with the file's name."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings

import sparsecore as sc
from file_cases import flipped, rewritten
from format_cases import EXAMPLES_SHARE_FIXTURES, lecture

S24 = sc.Sparse24.from_dense(np.array([[1.0, 0, 0, 2, 0, 3, 4, 0]]))


def saved(path: Path) -> bytes:
    """Save a CSR and a 2:4 layer, and a bias; return what the file holds."""
    sc.save_checkpoint(path, {"a.weight": lecture(), "b.weight": S24, "a.bias": np.zeros(4)})
    return path.read_bytes()


def says(*keys_and_value: Any) -> Callable[[dict[str, Any]], None]:
    """Return a change of a file's header: of the entry under the keys of our own JSON."""
    *keys, last, value = keys_and_value

    def change(header: dict[str, Any]) -> None:
        content = json.loads(header["__metadata__"]["sparsecore"])
        place = content
        for key in keys:
            place = place.setdefault(key, {})
        if value is None:
            del place[last]
        else:
            place[last] = value
        header["__metadata__"]["sparsecore"] = json.dumps(content)

    return change


def raw(text: str) -> Callable[[dict[str, Any]], None]:
    return lambda header: header["__metadata__"].update(sparsecore=text)


A, GEOMETRY = ("layers", "a"), {"stride": [1, 1], "padding": [0, 0], "dilation": [1, 1]}
CONV = {"format": "csr", "weight_shape": [4, 1, 2, 2], "groups": 1}
LIES = {
    "not JSON": (raw("{"), "is not JSON"),
    "nested": (raw("[" * 100_000), "is not JSON"),
    "a list": (raw("[]"), "format version None"),
    "newer version": (says("version", 2), "format version 2, this sparsecore reads 1"),
    "true as version": (says("version", True), "format version True"),
    "unknown key": (says("more", 1), "unknown key 'more'"),
    "unknown key of a layer": (says(*A, "more", 1), "layer 'a' has the unknown key 'more'"),
    "layers as a list": (says("layers", []), "layers is .*expected an object"),
    "layer as a number": (says(*A, 3), "layer 'a' is 3, expected an object"),
    "unknown format": (says(*A, "format", "coo"), "format is 'coo'"),
    "no format": (says(*A, "format", None), "format is None"),
    "format as a list": (says(*A, "format", []), "format is"),
    "2:4 that is CSR": (says(*A, "format", "2:4"), "layer 'a' is 2:4, but has no 'a.metadata'"),
    "three axes": (says(*A, "weight_shape", [4, 2, 2]), "expected 2 or 4 natural numbers"),
    "negative size": (says(*A, "weight_shape", [4, -4]), "natural numbers"),
    "size of text": (says(*A, "weight_shape", "44"), "an array"),
    "fewer columns": (says(*A, "weight_shape", [4, 3]), "layer 'a': .*column 3"),
    "more rows": (says(*A, "weight_shape", [5, 4]), "layer 'a': .*indptr"),
    "huge": (says(*A, "weight_shape", [2**62, 4]), "layer 'a'"),
    "past int64": (says(*A, "weight_shape", [2**62, 2**62, 4, 4]), "layer 'a'"),
    "other 2:4 columns": (says("layers", "b", "weight_shape", [1, 12]), "layer 'b': .*shape"),
    "unknown activation": (says(*A, "activation", "tanh"), "activation is 'tanh'"),
    "fused as a number": (says(*A, "fused", 1), "fused is 1, expected true or false"),
    "prepared for -1": (says(*A, "prepared", {"rows": -1}), "rows is -1"),
    "geometry of a matrix": (says(*A, "groups", 1), "no convolution"),
    "no stride": (says(*A, CONV), "stride is .*expected 2 natural numbers"),
    "stride 0": (says(*A, CONV | GEOMETRY | {"stride": [0, 1]}), "stride"),
    "groups past int64": (says(*A, CONV | GEOMETRY | {"groups": 2**70}), "groups"),
    "missing layer": (says("layers", "c", {"format": "csr", "weight_shape": [1, 1]}), "'c.values'"),
    "tied to nothing": (says("tied", "x", "y"), "'x' cannot be tied to 'y': that is missing"),
    "tied and stored": (says("tied", "a.bias", "a.weight"), "it is stored itself"),
    "tied to a number": (says("tied", "x", 3), "tied name 'x' is 3"),
    "dense of numbers": (says("dense", [3]), "'dense' is 3"),
    "fused module": (says("fused", "modules", {"": "yes"}), "module '' is 'yes'"),
    "fused layer": (says("fused", "layers", {"a": 1}), "layer 'a' is 1"),
}


@pytest.mark.parametrize(("change", "message"), LIES.values(), ids=LIES)
def test_headers_that_lie(tmp_path: Path, change: Any, message: str) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(rewritten(saved(path), change))
    with pytest.raises(ValueError, match=rf"(?s)m\.safetensors: .*{message}"):
        dict(sc.load_checkpoint(path))


def test_truncated_and_longer(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    content = saved(path)
    for changed in (*(content[:size] for size in range(0, len(content), 7)), content + b"\0"):
        path.write_bytes(changed)
        with pytest.raises(ValueError, match=r"m\.safetensors: "):
            sc.load_checkpoint(path)


# What is damaged, saved once.
CONTENT = bytearray()


@given(data=st.data(), in_header=st.booleans())
@hypothesis_settings(EXAMPLES_SHARE_FIXTURES, max_examples=150)
def test_damaged_bytes(tmp_path: Path, data: st.DataObject, in_header: bool) -> None:
    path = tmp_path / "m.safetensors"
    content = CONTENT or saved(path)
    CONTENT[:] = content
    header = 8 + int.from_bytes(content[:8], "little")
    path.write_bytes(flipped(data, content, within=header if in_header else None))
    try:
        for weight in dict(sc.load_checkpoint(path)).values():
            if isinstance(weight, sc.CSR | sc.Sparse24):
                weight.check()
    except ValueError as error:
        assert str(path) in str(error)  # noqa: PT017 - a fault is allowed, not demanded


def changed_index(**entries: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda index: index | {"weight_map": index["weight_map"] | entries}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda _: "{", "not JSON"),
        (lambda _: [], "no object 'weight_map'"),
        (lambda _: {"weight_map": 3}, "no object 'weight_map'"),
        (changed_index(x="../m-00001-of-00003.safetensors"), "expected a .safetensors file beside"),
        (changed_index(x=3), "'x' is in 3"),
        (changed_index(x="n.safetensors"), "n.safetensors, which holds tensor 'x', is not there"),
        (changed_index(x="m-00001-of-00003.safetensors"), "which lacks it"),
        (
            lambda i: {
                "weight_map": {
                    "a.bias": i["weight_map"]["a.bias"],
                    "a.values": i["weight_map"]["a.values"],
                }
            },
            "has no 'a.indices'",
        ),
    ],
)
def test_indices_that_lie(tmp_path: Path, change: Any, message: str) -> None:
    weights = {"a.weight": lecture(), "b.weight": S24, "a.bias": np.zeros(4)}
    sc.save_checkpoint(tmp_path / "m.safetensors", weights, shard_bytes=1)
    path = tmp_path / "m.safetensors.index.json"
    content = change(json.loads(path.read_text()))
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(ValueError, match=rf"m\.safetensors\.index\.json: .*{message}"):
        sc.load_checkpoint(path)


def test_shards_of_two_checkpoints(tmp_path: Path) -> None:
    sc.save_checkpoint(
        tmp_path / "m.safetensors", {"a.weight": lecture(), "x": np.ones(1)}, shard_bytes=1
    )
    first, second = sorted(tmp_path.glob("m-*"))
    first.write_bytes(rewritten(first.read_bytes(), lambda h: h.pop("__metadata__") and None))
    with pytest.raises(ValueError, match=f"{first.name} is of another checkpoint"):
        sc.load_checkpoint(tmp_path)
    second.unlink()
    with pytest.raises(ValueError, match=f"{second.name}.*is not there"):
        sc.load_checkpoint(tmp_path)


def test_folders_and_missing_files(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected one checkpoint in the folder, found none"):
        sc.load_checkpoint(tmp_path)
    with pytest.raises(FileNotFoundError):
        sc.load_checkpoint(tmp_path / "m.safetensors")
    for name in ("m", "n"):
        saved(tmp_path / f"{name}.safetensors")
    with pytest.raises(ValueError, match=r"found m\.safetensors, n\.safetensors; name the file"):
        sc.load_checkpoint(tmp_path)
