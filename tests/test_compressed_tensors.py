"""compressed_tensors.py: sparse-24-bitmask and sparse-bitmask, against bytes built by hand."""

import json
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from safetensors.numpy import load_file, save_file

import sparsecore as sc
from file_cases import flipped, matrices
from format_cases import EXAMPLES_SHARE_FIXTURES

# Kept are columns 0, 3, 5 and 6 of the first row. Of the second 3 and, because two of each four are
# kept, three zeros: 2, 4 and 5.
DENSE = np.array([[1, 0, 0, 2, 0, 3, 4, 0], [0, 0, 0, 5, 0, 0, 0, 0]], dtype=np.float32)
PARTS = {
    "fc.compressed": np.array([[1, 2, 3, 4], [0, 5, 0, 0]], dtype=np.float32),
    "fc.bitmask": np.array([[0b01101001], [0b00111100]], dtype=np.uint8),
    "fc.shape": np.array([[2], [8]], dtype=np.int64),
}


def by_hand(parts: dict[str, np.ndarray]) -> bytes:
    """Return a safetensors file, put together byte by byte."""
    header, data = {}, b""
    names = {"float32": "F32", "uint8": "U8", "int64": "I64"}
    for name, array in parts.items():
        offsets = [len(data), len(data) + array.nbytes]
        dtype = names[array.dtype.name]
        header[name] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": offsets}
        data += array.tobytes()
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def loaded(tmp_path: Path, parts: dict[str, Any]) -> dict[str, Any]:
    save_file(parts, tmp_path / "m.safetensors")
    return sc.load_compressed_tensors(tmp_path / "m.safetensors")


# ---- reading ----


def test_golden_bytes_are_read(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(by_hand(PARTS | {"fc.bias": np.array([7, 8], dtype=np.float32)}))
    weights = sc.load_compressed_tensors(path)
    assert list(weights) == ["fc.weight", "fc.bias"]
    assert weights["fc.weight"].equals(sc.Sparse24.from_dense(DENSE))
    assert weights["fc.bias"].tolist() == [7, 8]


def test_the_first_writers_kept_the_name_whole(tmp_path: Path) -> None:
    parts = {name.replace("fc.", "fc.weight."): array for name, array in PARTS.items()}
    assert list(loaded(tmp_path, parts)) == ["fc.weight"]


def test_rows_that_keep_fewer(tmp_path: Path) -> None:
    parts = PARTS | {
        "fc.compressed": np.array([1, 2, 3, 4, 5], dtype=np.float32),
        "fc.bitmask": np.array([[0b01101001], [0b00001000]], dtype=np.uint8),
    }
    assert loaded(tmp_path, parts)["fc.weight"].equals(sc.Sparse24.from_dense(DENSE))


def test_a_kept_negative_zero_becomes_a_zero(tmp_path: Path) -> None:
    values = np.array([[1, 2, 3, 4], [-0.0, 5, -0.0, 0]], dtype=np.float32)
    weight = loaded(tmp_path, PARTS | {"fc.compressed": values})["fc.weight"]
    assert weight.equals(sc.Sparse24.from_dense(DENSE))
    assert not np.signbit(weight.values).any()


def test_columns_that_are_no_multiple_of_eight_or_four(tmp_path: Path) -> None:
    """Groups of four then run on into the next row, in which three neighbours can be kept."""
    parts = {
        "fc.compressed": np.array([[1, 2, 3], [4, 5, 6]], dtype=np.float16),
        "fc.bitmask": np.array([[0b111], [0b111000]], dtype=np.uint8),
        "fc.shape": np.array([[2], [6]]),
    }
    dense = loaded(tmp_path, parts)["fc.weight"]
    assert dense.tolist() == [[1, 2, 3, 0, 0, 0], [0, 0, 0, 4, 5, 6]]


@pytest.mark.parametrize("dtype", [ml_dtypes.float8_e4m3fn, np.int16])
def test_dtypes_without_a_kernel_become_dense(tmp_path: Path, dtype: Any) -> None:
    weight = loaded(tmp_path, PARTS | {"fc.compressed": PARTS["fc.compressed"].astype(dtype)})
    assert weight["fc.weight"].dtype == dtype
    assert weight["fc.weight"].astype(np.float32).tolist() == DENSE.tolist()


def test_any_number_of_nonzeros_becomes_csr(tmp_path: Path) -> None:
    dense = np.array(
        [[1, 2, 3, 0, 0, 0, 0, 0, 4], [0] * 9, [0, 0, 0, 0, 0, 0, 0, 5, 0]], np.float32
    )
    parts = {
        "fc.compressed": np.array([1, 2, 3, 4, 5], dtype=np.float32),
        "fc.bitmask": np.array([[0b111, 1], [0, 0], [0b10000000, 0]], dtype=np.uint8),
        "fc.shape": np.array([3, 9]),
        "fc.row_offsets": np.array([0, 4, 4]),
    }
    assert loaded(tmp_path, parts)["fc.weight"].equals(sc.CSR.from_dense(dense))
    with pytest.raises(ValueError, match="'row_offsets' are not where"):
        loaded(tmp_path, parts | {"fc.row_offsets": np.array([0, 3, 4])})


BAD = {
    "no values": ({"fc.compressed": None}, "has 'fc.bitmask', but no 'fc.compressed'"),
    "no shape": ({"fc.shape": None}, "no 'fc.shape'"),
    "fewer values": ({"fc.compressed": np.ones((2, 3))}, r"shape \(2, 3\), .* marks 8 values"),
    "more values": ({"fc.compressed": np.ones((2, 5))}, "marks 8 values"),
    "three sizes": ({"fc.shape": np.array([2, 8, 1])}, "'shape' is int64"),
    "sizes of floats": ({"fc.shape": np.array([2.0, 8.0])}, "'shape' is float64"),
    "negative": ({"fc.shape": np.array([2, -8])}, "'shape' is"),
    "other rows": ({"fc.shape": np.array([3, 8])}, r"\(2, 1\), expected uint8 of \(3, 1\)"),
    "huge": ({"fc.shape": np.array([2, 2**62])}, "expected uint8"),
    "signed bits": ({"fc.bitmask": np.ones((2, 1), np.int8)}, "'bitmask' is int8"),
    "past the last": ({"fc.shape": np.array([2, 6])}, "past the last of 6 in row 0"),
    "twice": ({"fc.weight": np.ones((2, 8))}, "'fc.weight' is there twice"),
}


@pytest.mark.parametrize(("change", "message"), BAD.values(), ids=BAD)
def test_parts_that_do_not_fit(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    parts = {name: array for name, array in (PARTS | change).items() if array is not None}
    with pytest.raises(ValueError, match=rf"m\.safetensors: .*{message}"):
        loaded(tmp_path, parts)


@given(data=st.data())
@hypothesis_settings(EXAMPLES_SHARE_FIXTURES, max_examples=100)
def test_damaged_bytes(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(flipped(data, by_hand(PARTS)))
    try:
        sc.load_compressed_tensors(path)
    except ValueError as error:
        assert str(path) in str(error)  # noqa: PT017 - a fault is allowed, not demanded


# ---- writing ----


def test_golden_bytes_are_written(tmp_path: Path) -> None:
    """Two bits a group, also where there is one nonzero or none: those of Sparse24's slots."""
    S = sc.Sparse24.from_dense(DENSE)
    assert S.metadata.tolist() == [[0x9C], [0xEE]]
    sc.save_compressed_tensors(tmp_path / "m.safetensors", {"fc.weight": S, "x": np.ones(1)})
    stored = load_file(tmp_path / "m.safetensors")
    assert stored.pop("x").tolist() == [1]
    assert stored.keys() == PARTS.keys()
    assert stored["fc.compressed"].tolist() == [[1, 2, 3, 4], [0, 5, 0, 0]]
    assert stored["fc.bitmask"].tolist() == [[0b01101001], [0b11001100]]
    assert stored["fc.shape"].tolist() == [[2], [8]]
    assert [a.dtype.name for a in stored.values()] == [PARTS[n].dtype.name for n in stored]


@given(S=matrices(formats=("sparse24",)), shard_bytes=st.sampled_from([None, 1]))
@hypothesis_settings(EXAMPLES_SHARE_FIXTURES, max_examples=30)
def test_what_is_written_is_read(tmp_path: Path, S: sc.Sparse24, shard_bytes: int | None) -> None:
    path = tmp_path / "m.safetensors"
    weights = {"a.weight": S, "b.weight": S, "c": np.ones(2)}
    for file in tmp_path.iterdir():
        file.unlink()
    if S.shape[1] % 4:
        with pytest.raises(ValueError, match="expected a name that ends in"):
            sc.save_compressed_tensors(path, weights)
        return
    sc.save_compressed_tensors(path, weights, shard_bytes=shard_bytes)
    read = sc.load_compressed_tensors(tmp_path)
    assert read["a.weight"].equals(S)
    assert read["b.weight"].equals(S)
    assert sorted(read) == sorted(weights)


def test_what_cannot_be_written(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    with pytest.raises(ValueError, match="'fc' has 8 columns, expected a name"):
        sc.save_compressed_tensors(path, {"fc": sc.Sparse24.from_dense(DENSE)})
    with pytest.raises(TypeError, match=r"'fc\.weight' is a CSR, expected Sparse24"):
        sc.save_compressed_tensors(path, {"fc.weight": sc.CSR.from_dense(DENSE)})
    assert list(tmp_path.iterdir()) == []
