"""The arrays of an npz archive, read one by one.

numpy's own reader allocates what an array's header claims before it has read the array, and gives
the header to Python's parser; this one reads first, and takes only the form that numpy writes. So a
header that lies, or an archive that claims more than it holds, costs nothing.
"""

import errno
import math
import re
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from sparsecore.interop import Array

__all__ = ["Archive", "Member", "open_archive"]

# No stream of deflate inflates to more than this many bytes a byte (zlib's technical notes,
# "Maximum Compression Factor": 1032:1).
_LARGEST_INFLATION = 1032
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
_SUFFIX = ".npy"

# What Python's zipfile raises for an archive that is not one.
_ZIP_FAULTS = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
)


@dataclass(frozen=True, slots=True)
class Member:
    """What an array's header says; `end` is where in the member its data begin."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    order: Literal["C", "F"]
    end: int


@dataclass(frozen=True, slots=True)
class Archive:
    """An open npz archive in a file of `size` bytes."""

    zip: zipfile.ZipFile
    size: int

    @property
    def names(self) -> list[str]:
        """Of the arrays, without their endings."""
        return [n.removesuffix(_SUFFIX) for n in self.zip.namelist() if n.endswith(_SUFFIX)]

    def stored_bytes(self, name: str) -> int:
        """Bytes that an array takes in the file."""
        return self._info(name).compress_size

    def header(self, name: str) -> Member:
        """Read what an array's header says, and compare it with the size of its member.

        Raises
        ------
        ValueError
            Where it is none that numpy writes for numbers, or claims another size.
        """
        info = self._info(name)
        with self.zip.open(info) as stream:
            start = stream.read(_LARGEST_HEADER)
        member = _parse_header(start, info.filename)
        _check_size(member, info.file_size, info.filename)
        return member

    def read(self, name: str, *, kinds: str) -> Array:
        """Read an array of one of these kinds of dtype, in native byte order.

        Its bytes are read before its header is believed.

        Raises
        ------
        ValueError
            Where there is none of this name, or it is not what its header says.
        """
        info = self._info(name)
        content = self._inflate(info)
        if len(content) != info.file_size:
            msg = f"member {info.filename!r} is truncated: {len(content)} of {info.file_size} bytes"
            raise ValueError(msg)
        member = _parse_header(content, info.filename)
        if member.dtype.kind not in kinds:
            expected = " or ".join(kinds)
            msg = f"member {info.filename!r} has dtype {member.dtype}, expected kind {expected}"
            raise ValueError(msg)
        _check_size(member, len(content), info.filename)
        flat = np.frombuffer(content, dtype=member.dtype, offset=member.end)
        array = flat.reshape(member.shape, order=member.order)
        return array.astype(member.dtype.newbyteorder("="))

    def _info(self, name: str) -> zipfile.ZipInfo:
        member = f"{name}{_SUFFIX}"
        info = self.zip.NameToInfo.get(member)
        if info is None:
            msg = f"no member {member!r}, expected those that scipy.sparse.save_npz writes"
            raise ValueError(msg)
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            kind = info.compress_type
            msg = f"member {member!r} uses compression {kind}, expected deflate or none"
            raise ValueError(msg)
        ratio = _LARGEST_INFLATION if info.compress_type == zipfile.ZIP_DEFLATED else 1
        if info.compress_size > self.size or info.file_size > ratio * info.compress_size:
            msg = (
                f"member {member!r} claims {info.file_size} bytes from {info.compress_size} in a "
                f"file of {self.size}"
            )
            raise ValueError(msg)
        return info

    def _inflate(self, info: zipfile.ZipInfo) -> bytearray:
        """Read a member piece by piece, so that memory follows what is there and not the claim.

        zipfile stops at the size that the archive claims, and compares the checksum there.
        """
        content = bytearray()
        with self.zip.open(info) as stream:
            while piece := stream.read(_CHUNK):
                content += piece
        return content


@contextmanager
def open_archive(path: Path) -> Iterator[Archive]:
    """Open an archive to read; what is wrong with it while it is open becomes a ValueError."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        try:
            with zipfile.ZipFile(file) as archive:
                yield Archive(archive, size)
        except (*_ZIP_FAULTS, OSError) as fault:
            # zipfile seeks where a false offset sends it (EINVAL); other errors are the disk's.
            if isinstance(fault, OSError) and fault.errno != errno.EINVAL:
                raise
            msg = f"not a whole zip archive: {fault}"
            raise ValueError(msg) from fault


def _parse_header(content: bytes | bytearray, filename: str) -> Member:
    start = bytes(content[:8])
    begin = 10 if start == _VERSION_1 else 12
    end = begin + int.from_bytes(content[8:begin], "little")
    header = _HEADER.fullmatch(content[begin : min(end, begin + _LARGEST_HEADER)])
    if start not in (_VERSION_1, _VERSION_2) or header is None:
        msg = f"member {filename!r} has no npy header as numpy writes it for numbers"
        raise ValueError(msg)
    shape = tuple(int(extent) for extent in header[3].replace(b",", b" ").split())
    order: Literal["C", "F"] = "F" if header[2] == b"True" else "C"
    return Member(np.dtype(header[1].decode()), shape, order, end)


def _check_size(member: Member, size: int, filename: str) -> None:
    needed, found = math.prod(member.shape) * member.dtype.itemsize, size - member.end
    if needed != found:
        msg = f"member {filename!r} holds {found} bytes of data, its header claims {needed}"
        raise ValueError(msg)
