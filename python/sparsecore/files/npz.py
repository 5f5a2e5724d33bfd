"""npz with scipy's keys: what ``scipy.sparse.save_npz`` writes and ``load_npz`` reads."""

from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from sparsecore.files.npz_members import Archive, open_archive
from sparsecore.files.parts import ARRAY_NAMES, Parts
from sparsecore.formats.convert import widen
from sparsecore.interop import Array

__all__ = ["read", "read_header", "write"]

_SCIPY_DTYPES = ("float64", "float32", "int8")


def write(file: BinaryIO, parts: Parts) -> None:
    """Write a CSR or COO matrix, compressed, with int32 or int64 indices as scipy's.

    Raises
    ------
    TypeError
        For 2:4, and for float16 and bfloat16, which scipy does not read.
    """
    values, *indices = ARRAY_NAMES[parts.format]
    dtype = parts.arrays[values].dtype
    if parts.format == "sparse24" or dtype.name not in _SCIPY_DTYPES:
        msg = (
            f"save: npz cannot hold a {parts.format} matrix of {dtype}; it holds csr and coo of "
            f"{', '.join(_SCIPY_DTYPES)}. Use .safetensors"
        )
        raise TypeError(msg)
    largest = max(*parts.shape, parts.arrays[values].size)
    members: dict[str, Any] = {name: widen(parts.arrays[name], largest) for name in indices}
    members |= {
        "format": np.array(parts.format.encode("ascii")),
        "shape": np.array(parts.shape, dtype=np.int64),
        "data": parts.arrays[values],
        # scipy then makes a csr_array and no csr_matrix.
        "_is_array": np.array(True),
    }
    np.savez_compressed(file, **members)


def read(path: Path) -> Parts:
    """Read a csr or coo matrix that scipy or `write` wrote.

    Raises
    ------
    ValueError
        Where the file is not one; names the member at fault.
    """
    with open_archive(path) as archive:
        matrix_format, shape = read_header(archive)
        names = ARRAY_NAMES[matrix_format]
        arrays = {name: archive.read(name, kinds="iuf") for name in names}
    return Parts(matrix_format, shape, arrays)


def read_header(archive: Archive) -> tuple[str, tuple[int, int]]:
    """Read the format and the shape of the matrix in an archive that is open, as `read` does."""
    matrix_format = _read_format(archive.read("format", kinds="SU"))
    shape = archive.read("shape", kinds="iu")
    if shape.shape != (2,):
        msg = f"member 'shape.npy' has shape {shape.shape}, expected (2,)"
        raise ValueError(msg)
    return matrix_format, (int(shape[0]), int(shape[1]))


def _read_format(member: Array) -> str:
    text = member.item() if member.shape == () else ""
    text = text.decode("ascii", "replace") if isinstance(text, bytes) else str(text)
    if text not in ("csr", "coo"):
        msg = f"holds the format {text!r:.40}, expected 'csr' or 'coo'; scipy converts others"
        raise ValueError(msg)
    return text
