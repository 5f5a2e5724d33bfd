"""npz with scipy's keys: what ``scipy.sparse.save_npz`` writes and ``load_npz`` reads.

numpy's own reader allocates what an array's header claims before it has read the array, and gives
the header to Python's parser; this one reads first, and takes only the form that numpy writes. So a
header that lies, or an archive that claims more than it holds, costs nothing.
"""

import errno
import math
import re
import zipfile
import zlib
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np

from sparsecore.files.parts import ARRAY_NAMES, Parts
from sparsecore.formats.convert import widen
from sparsecore.interop import Array

# No stream of deflate inflates to more than this many bytes a byte (zlib's technical notes,
# "Maximum Compression Factor": 1032:1).
_LARGEST_INFLATION = 1032
_SCIPY_DTYPES = ("float64", "float32", "int8")
# The .npy format: magic, version, the header's length in 2 (version 1) or 4 bytes, the header.
_VERSION_1 = b"\x93NUMPY\x01\x00"
_VERSION_2 = b"\x93NUMPY\x02\x00"
_HEADER = re.compile(
    rb"\{'descr': '([<>|][a-zA-Z]\d+)', 'fortran_order': (False|True), "
    rb"'shape': \((|\d+,|\d+(?:, \d+)+)\), \} *\n"
)
# A header takes 128 bytes.
_LARGEST_HEADER = 1 << 10
_CHUNK = 1 << 20

# What Python's zipfile raises for an archive that is not one.
_ZIP_FAULTS = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
)


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
    with path.open("rb") as file:
        size = file.seek(0, 2)
        try:
            with zipfile.ZipFile(file) as archive:
                return _read_archive(archive, size)
        except (*_ZIP_FAULTS, OSError) as fault:
            # zipfile seeks where a false offset sends it (EINVAL); other errors are the disk's.
            if isinstance(fault, OSError) and fault.errno != errno.EINVAL:
                raise
            msg = f"not a whole zip archive: {fault}"
            raise ValueError(msg) from fault


def _read_archive(archive: zipfile.ZipFile, size: int) -> Parts:
    matrix_format = _read_format(_read_member(archive, "format", size, kinds="SU"))
    shape = _read_member(archive, "shape", size, kinds="iu")
    if shape.shape != (2,):
        msg = f"member 'shape.npy' has shape {shape.shape}, expected (2,)"
        raise ValueError(msg)
    names = ARRAY_NAMES[matrix_format]
    arrays = {name: _read_member(archive, name, size, kinds="iuf") for name in names}
    return Parts(matrix_format, (int(shape[0]), int(shape[1])), arrays)


def _read_format(member: Array) -> str:
    text = member.item() if member.shape == () else ""
    text = text.decode("ascii", "replace") if isinstance(text, bytes) else str(text)
    if text not in ("csr", "coo"):
        msg = f"holds the format {text!r:.40}, expected 'csr' or 'coo'; scipy converts others"
        raise ValueError(msg)
    return text


def _read_member(archive: zipfile.ZipFile, name: str, size: int, *, kinds: str) -> Array:
    """Read one array, in native byte order; its bytes are read before its header is believed."""
    member = f"{name}.npy"
    if member not in archive.namelist():
        msg = f"no member {member!r}, expected those that scipy.sparse.save_npz writes"
        raise ValueError(msg)
    info = archive.getinfo(member)
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        msg = f"member {member!r} uses compression {info.compress_type}, expected deflate or none"
        raise ValueError(msg)
    ratio = _LARGEST_INFLATION if info.compress_type == zipfile.ZIP_DEFLATED else 1
    if info.compress_size > size or info.file_size > ratio * info.compress_size:
        msg = (
            f"member {member!r} claims {info.file_size} bytes from {info.compress_size} in a file "
            f"of {size}"
        )
        raise ValueError(msg)
    content = _inflate(archive, info)
    if len(content) != info.file_size:
        msg = f"member {member!r} is truncated: {len(content)} of {info.file_size} bytes"
        raise ValueError(msg)
    return _parse_npy(content, member, kinds=kinds)


def _inflate(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytearray:
    """Read a member piece by piece, so that memory follows what is there and not what is claimed.

    zipfile stops at the size that the archive claims, and compares the checksum there.
    """
    content = bytearray()
    with archive.open(info) as stream:
        while piece := stream.read(_CHUNK):
            content += piece
    return content


def _parse_npy(content: bytearray, member: str, *, kinds: str) -> Array:
    start = bytes(content[:8])
    begin = 10 if start == _VERSION_1 else 12
    end = begin + int.from_bytes(content[8:begin], "little")
    header = _HEADER.fullmatch(content[begin : min(end, begin + _LARGEST_HEADER)])
    if start not in (_VERSION_1, _VERSION_2) or header is None:
        msg = f"member {member!r} has no npy header as numpy writes it for numbers"
        raise ValueError(msg)
    dtype = np.dtype(header[1].decode())
    if dtype.kind not in kinds:
        msg = f"member {member!r} has dtype {dtype}, expected kind {' or '.join(kinds)}"
        raise ValueError(msg)
    shape = tuple(int(extent) for extent in header[3].replace(b",", b" ").split())
    needed, found = math.prod(shape) * dtype.itemsize, len(content) - end
    if needed != found:
        msg = f"member {member!r} holds {found} bytes of data, its header claims {needed}"
        raise ValueError(msg)
    order: Literal["C", "F"] = "F" if header[2] == b"True" else "C"
    array = np.frombuffer(content, dtype=dtype, offset=end).reshape(shape, order=order)
    return array.astype(dtype.newbyteorder("="))
