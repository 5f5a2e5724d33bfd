"""Files to load: matrices drawn for them, and safetensors and npz files altered in one place."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
from numpy.lib import format as npy

import sparsecore as sc
from format_cases import Matrix, lecture
from oracle import DTYPES, F32, F64, I8, DType

# What npz holds: scipy has no half precision.
NPZ_DTYPES = (F64, F32, I8)


@st.composite
def matrices(
    draw: st.DrawFn,
    formats: Iterable[str] = ("coo", "csr", "sparse24"),
    dtypes: Iterable[DType] = DTYPES,
) -> Matrix:
    """Draw a matrix of any format and dtype, in shapes of every index width."""
    fmt, dtype = draw(st.sampled_from(list(formats))), draw(st.sampled_from(list(dtypes)))
    shape = draw(st.sampled_from([(0, 0), (0, 3), (4, 0), (1, 1), (5, 7), (3, 257), (2, 70000)]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    W = rng.integers(-9, 10, shape).astype(dtype)
    W[rng.random(shape) < draw(st.floats(0, 1))] = 0
    if fmt == "sparse24":
        return sc.Sparse24.from_dense(W, prune=True)
    if fmt == "csr":
        return sc.CSR.from_dense(W)
    order = rng.permutation(np.count_nonzero(W))
    row, col = (axis[order] for axis in np.nonzero(W))
    A = sc.COO((W[row, col], (row, col)), shape)
    return A.append(A.data[:2], (A.row[:2], A.col[:2]))  # an order and duplicates to keep


# ---- bytes ----


def saved(path: Path, A: Matrix | None = None) -> bytes:
    """Save a matrix, the lecture's unless another is given, and return what the file holds."""
    sc.save(path, lecture() if A is None else A)
    return path.read_bytes()


def flipped(data: st.DataObject, content: bytes, *, within: int | None = None) -> bytes:
    """Return content with up to four of its bytes, or of the first `within`, drawn anew."""
    changed = bytearray(content)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content[:within]) - 1))
        changed[at] = data.draw(st.integers(0, 255))
    return bytes(changed)


def check_loads_or_names_the_file(path: Path) -> None:
    """Load a damaged file: it holds a valid matrix, or the ValueError names it."""
    try:
        sc.load(path).check()
    except ValueError as error:
        assert str(path) in str(error)  # noqa: PT017 - a fault is allowed, not demanded


# ---- safetensors ----


def rewritten(content: bytes, change: Callable[[dict[str, Any]], Any]) -> bytes:
    """Return a safetensors file with its header changed, its data as they were."""
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    header = change(header) or header
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + content[8 + length :]


def set_entry(*keys_and_value: Any) -> Callable[[dict[str, Any]], None]:
    """Return a change of a header: the entry under the keys, one in the other, gets the value."""
    *keys, last, value = keys_and_value

    def change(header: dict[str, Any]) -> None:
        for key in keys:
            header = header[key]
        header[last] = value

    return change


# ---- npz ----


def npz(path: Path, *, compression: int = zipfile.ZIP_DEFLATED, **members: Any) -> Path:
    """Write the lecture's matrix as scipy does, with some members replaced (None: left out)."""
    A = lecture()
    arrays = {
        "format": np.array(b"csr"),
        "shape": np.array([4, 4]),
        "data": np.array(A.data),
        "indices": A.indices.astype(np.int32),
        "indptr": A.indptr.astype(np.int32),
    } | members
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, array in arrays.items():
            if array is None:
                continue
            stream = io.BytesIO()
            if isinstance(array, bytes):
                stream.write(array)
            else:
                npy.write_array(stream, array, allow_pickle=True)
            archive.writestr(f"{name}.npy", stream.getvalue())
    return path


def claims(shape: tuple[int, ...], data: bytes = b"") -> bytes:
    """Return a member of float64 whose header claims a shape, whatever data it holds."""
    stream = io.BytesIO()
    npy.write_array_header_1_0(stream, {"descr": "<f8", "fortran_order": False, "shape": shape})
    return stream.getvalue() + data


def patched_sizes(content: bytes, member: bytes, *, claimed: int) -> bytes:
    """Return a zip archive whose directory claims another size for a member once inflated."""
    at = content.index(b"PK\x01\x02")
    while content[at + 46 : at + 46 + len(member)] != member:
        at = content.index(b"PK\x01\x02", at + 4)
    return content[: at + 24] + struct.pack("<I", claimed) + content[at + 28 :]
