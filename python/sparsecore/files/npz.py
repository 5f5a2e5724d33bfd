"""npz with scipy's keys: what ``scipy.sparse.save_npz`` writes and ``load_npz`` reads.

numpy's own reader allocates what an array's header claims before it has read the array; this one
reads first. So a header that lies, or an archive that claims more than it holds, costs nothing.
"""

import io
import zipfile
import zlib
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy

from sparsecore.files.parts import ARRAY_NAMES, Parts
from sparsecore.formats.convert import widen
from sparsecore.interop import VALUE_DTYPES, Array

# No stream of deflate inflates to more than this many bytes a byte (zlib's technical notes,
# "Maximum Compression Factor": 1032:1).
_LARGEST_INFLATION = 1032
# A .npy header takes 128 bytes; 10,000 is what numpy itself accepts.
_LARGEST_HEADER = 10_000
_CHUNK = 1 << 20

# What Python's zipfile raises for an archive that is not one.
_ZIP_FAULTS = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    KeyError,
    OSError,
)


def write(file: BinaryIO, parts: Parts) -> None:
    """Write a CSR or COO matrix, compressed, with int32 or int64 indices as scipy's.

    Raises
    ------
    TypeError
        For 2:4 and for bfloat16, which npz cannot hold.
    """
    values, *indices = ARRAY_NAMES[parts.format]
    dtype = parts.arrays[values].dtype
    if parts.format == "sparse24" or dtype == VALUE_DTYPES["bfloat16"]:
        msg = (
            f"save: npz cannot hold a {parts.format} matrix of {dtype}; it holds csr and coo of "
            "float64, float32, float16 and int8. Use .safetensors"
        )
        raise TypeError(msg)
    largest = max(*parts.shape, parts.arrays[values].size)
    np.savez_compressed(
        file,
        allow_pickle=False,
        format=np.array(parts.format.encode("ascii")),
        shape=np.array(parts.shape, dtype=np.int64),
        data=parts.arrays[values],
        _is_array=np.array(True),
        **{name: widen(parts.arrays[name], largest) for name in indices},
    )


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
        except _ZIP_FAULTS as fault:
            msg = f"not a whole zip archive: {fault}"
            raise ValueError(msg) from fault


def _read_archive(archive: zipfile.ZipFile, size: int) -> Parts:
    if "format.npy" not in archive.namelist():
        msg = "no member 'format.npy', so it is not a sparse matrix of scipy"
        raise ValueError(msg)
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
    header = io.BytesIO(bytes(content[: _LARGEST_HEADER + 16]))
    version = npy.read_magic(header)
    if version == (1, 0):
        shape, fortran, dtype = npy.read_array_header_1_0(header)
    elif version == (2, 0):
        shape, fortran, dtype = npy.read_array_header_2_0(header)
    else:
        msg = f"member {member!r} has npy version {version}, expected (1, 0) or (2, 0)"
        raise ValueError(msg)
    if dtype.kind not in kinds or dtype.hasobject:
        msg = f"member {member!r} has dtype {dtype}, expected kind {' or '.join(kinds)}"
        raise ValueError(msg)
    needed, found = _nbytes(shape, dtype), len(content) - header.tell()
    if needed != found:
        msg = f"member {member!r} holds {found} bytes of data, its header claims {needed}"
        raise ValueError(msg)
    array = np.frombuffer(content, dtype=dtype, offset=header.tell())
    array = array.reshape(shape, order="F" if fortran else "C")
    return array.astype(dtype.newbyteorder("="))


def _nbytes(shape: tuple[Any, ...], dtype: np.dtype[Any]) -> int:
    nbytes = dtype.itemsize
    for extent in shape:
        nbytes *= int(extent)
    return nbytes
