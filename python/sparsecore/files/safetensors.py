"""safetensors: a small JSON header, then the arrays as they lie in memory.

Format: https://huggingface.co/docs/safetensors, "Format". It is read and written here and not by
the safetensors package, whose errors do not say where in a file the fault is, whose numpy side has
no bfloat16 in older versions, and whose files differ from run to run in the order of metadata.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from sparsecore.files.parts import ARRAY_NAMES, Parts
from sparsecore.interop import FLOAT8_DTYPES, VALUE_DTYPES, Array

VERSION = "1"
# One matrix has a header of about 400 bytes; a larger one is another file, or a lie.
_LARGEST_HEADER = 1 << 16

_DTYPES: dict[str, np.dtype[Any]] = {
    "F64": VALUE_DTYPES["float64"],
    "F32": VALUE_DTYPES["float32"],
    "F16": VALUE_DTYPES["float16"],
    "BF16": VALUE_DTYPES["bfloat16"],
    "F8_E4M3": FLOAT8_DTYPES["float8_e4m3fn"],
    "F8_E5M2": FLOAT8_DTYPES["float8_e5m2"],
    "I8": VALUE_DTYPES["int8"],
    "U8": np.dtype(np.uint8),
    "U16": np.dtype(np.uint16),
    "U32": np.dtype(np.uint32),
    "U64": np.dtype(np.uint64),
}
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}


@dataclass(frozen=True, slots=True)
class _Entry:
    """One array: where it lies in the file, counted from the file's first byte."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    begin: int
    end: int


def write(file: BinaryIO, parts: Parts) -> None:
    """Write a matrix as flat tensors; the format, its version, shape and dtype are metadata."""
    m, n = parts.shape
    metadata = {
        "format": parts.format,
        "version": VERSION,
        "shape": f"{m} {n}",
        "dtype": parts.arrays[ARRAY_NAMES[parts.format][0]].dtype.name,
    }
    header: dict[str, Any] = {"__metadata__": metadata}
    # The widest first, so that each array is aligned in the file.
    arrays = sorted(parts.arrays.items(), key=lambda item: (-item[1].itemsize, item[0]))
    end = 0
    for name, array in arrays:
        begin, end = end, end + array.nbytes
        dtype = _NAMES[array.dtype]
        header[name] = {"dtype": dtype, "shape": array.shape, "data_offsets": (begin, end)}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    file.write(len(text).to_bytes(8, "little") + text)
    for _, array in arrays:
        file.write(array.view(np.uint8).data)


def read(path: Path) -> Parts:
    """Read what `write` wrote.

    Raises
    ------
    ValueError
        Where the file is not one; says at which byte where that is known.
    """
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(0)
        header, start = _read_header(file, size)
        metadata = header.pop("__metadata__", None)
        matrix_format, shape, dtype = read_metadata(metadata)
        names = ARRAY_NAMES[matrix_format]
        if set(header) != set(names):
            msg = f"the header lists the tensors {sorted(header)}, expected {sorted(names)}"
            raise ValueError(msg)
        entries = {name: _entry(name, header[name], start) for name in names}
        _check_layout(entries, start, size)
        if entries[names[0]].dtype.name != dtype:
            msg = f"tensor {names[0]!r} is {entries[names[0]].dtype}, the metadata says {dtype!r}"
            raise ValueError(msg)
        arrays = {name: _read_array(file, entry) for name, entry in entries.items()}

    def place(name: str, position: int) -> str:
        return f"byte {entries[name].begin + position * entries[name].dtype.itemsize} ({name!r})"

    return Parts(matrix_format, shape, arrays, place)


def _read_header(file: BinaryIO, size: int) -> tuple[dict[str, Any], int]:
    """Return the header and the position of the first byte after it."""
    length = int.from_bytes(file.read(8), "little")
    if size < 8 or length > size - 8:
        msg = f"the file is truncated: {size} bytes, the header alone ends at byte {8 + length}"
        raise ValueError(msg)
    if length > _LARGEST_HEADER:
        msg = f"the header has {length} bytes, one matrix's has less than {_LARGEST_HEADER}"
        raise ValueError(msg)
    try:
        header = json.loads(file.read(length), object_pairs_hook=_unique)
    except RecursionError:
        msg = "the header is nested too deeply"
        raise ValueError(msg) from None
    if not isinstance(header, dict):
        msg = f"the header is a {type(header).__name__}, expected an object"
        raise ValueError(msg)
    return header, 8 + length


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        msg = "the header has a key twice"
        raise ValueError(msg)
    return result


def read_metadata(metadata: Any) -> tuple[str, tuple[int, int], str]:
    """Return format, shape and dtype of the matrix that a file's metadata describe.

    Raises
    ------
    ValueError
        Where they describe none.
    """
    metadata = metadata if isinstance(metadata, dict) else {}
    matrix_format, shape = metadata.get("format"), str(metadata.get("shape")).split()
    if matrix_format not in ARRAY_NAMES or metadata.get("version") != VERSION:
        msg = (
            f"the metadata says format {matrix_format!r}, version {metadata.get('version')!r}; "
            f"expected one of {', '.join(ARRAY_NAMES)}, version {VERSION!r}"
        )
        raise ValueError(msg)
    if len(shape) != 2 or not all(size.isascii() and size.isdigit() for size in shape):
        msg = f"the metadata says shape {metadata.get('shape')!r}, expected two sizes"
        raise ValueError(msg)
    return str(matrix_format), (int(shape[0]), int(shape[1])), str(metadata.get("dtype"))


def _entry(name: str, spec: Any, start: int) -> _Entry:
    """Read one tensor's entry in the header; sizes must be natural numbers that agree."""
    spec = spec if isinstance(spec, dict) else {}
    dtype = _DTYPES.get(str(spec.get("dtype")))
    shape, offsets = spec.get("shape"), spec.get("data_offsets")
    if dtype is None or not _naturals(shape) or not _naturals(offsets) or len(offsets) != 2:
        msg = f"the header's entry of tensor {name!r} is not one of a known dtype: {spec!r:.200}"
        raise ValueError(msg)
    nbytes = dtype.itemsize
    for extent in shape:
        nbytes *= extent
    if offsets[1] - offsets[0] != nbytes:
        msg = f"tensor {name!r} has {offsets[1] - offsets[0]} bytes, its shape needs {nbytes}"
        raise ValueError(msg)
    return _Entry(name, dtype, tuple(shape), start + offsets[0], start + offsets[1])


def _naturals(value: Any) -> bool:
    return isinstance(value, list) and all(type(item) is int and item >= 0 for item in value)


def _check_layout(entries: dict[str, _Entry], start: int, size: int) -> None:
    """Raise ValueError unless the tensors fill the rest of the file, without gap or overlap."""
    position = start
    for entry in sorted(entries.values(), key=lambda entry: (entry.begin, entry.end)):
        if entry.begin != position:
            msg = f"tensor {entry.name!r} begins at byte {entry.begin}, expected byte {position}"
            raise ValueError(msg)
        position = entry.end
    if position > size:
        msg = f"the file is truncated: {size} bytes, its tensors end at byte {position}"
        raise ValueError(msg)
    if position < size:
        msg = f"the tensors end at byte {position}, the file at byte {size}"
        raise ValueError(msg)


def _read_array(file: BinaryIO, entry: _Entry) -> Array:
    file.seek(entry.begin)
    nbytes = entry.end - entry.begin
    content = np.fromfile(file, dtype=np.uint8, count=nbytes)
    if content.size != nbytes:
        msg = f"the file ended within tensor {entry.name!r}, at byte {entry.begin + content.size}"
        raise ValueError(msg)
    return content.view(entry.dtype).reshape(entry.shape)
