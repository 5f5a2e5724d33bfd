"""Many tensors read from safetensors files: one, or several with an index as Hugging Face has it.

The safetensors package validates a header against its file: lengths, offsets, dtypes, that tensors
fill the file without gap or overlap. Arrays are then read by numpy, one when it is asked for: the
package's numpy side has no float8.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from sparsecore.files.replacing import TAG
from sparsecore.interop import Array

__all__ = [
    "DTYPES",
    "INDEX_SUFFIX",
    "SUFFIX",
    "Entry",
    "TensorFiles",
    "index_of",
    "open_tensors",
    "shard_names",
]

INDEX_SUFFIX = ".safetensors.index.json"
SUFFIX = ".safetensors"
DTYPES: dict[str, np.dtype[Any]] = {
    "F64": np.dtype(np.float64),
    "F32": np.dtype(np.float32),
    "F16": np.dtype(np.float16),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "F8_E4M3": np.dtype(ml_dtypes.float8_e4m3fn),
    "F8_E5M2": np.dtype(ml_dtypes.float8_e5m2),
    "BOOL": np.dtype(np.bool_),
    **{f"I{8 * n}": np.dtype(f"i{n}") for n in (1, 2, 4, 8)},
    **{f"U{8 * n}": np.dtype(f"u{n}") for n in (1, 2, 4, 8)},
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One tensor: where it lies. `begin` and `end` count from the file's first byte."""

    path: Path
    dtype: np.dtype[Any] | None
    dtype_name: str
    shape: tuple[int, ...]
    begin: int
    end: int

    @property
    def nbytes(self) -> int:
        """Bytes in the file."""
        return self.end - self.begin


@dataclass(frozen=True, slots=True)
class TensorFiles:
    """What the headers of a file, or of all files of an index, say.

    Attributes
    ----------
    path : Path
        The file or the index, for messages.
    entries : dict of str to Entry
    metadata : dict of Path to dict
        Each file's own, texts by name.
    nbytes : int
        Of all files, headers and the index included.
    """

    path: Path
    entries: Mapping[str, Entry]
    metadata: Mapping[Path, Mapping[str, str]]
    nbytes: int

    def read(self, name: str) -> Array:
        """Read one tensor into memory of its own.

        Raises
        ------
        KeyError
            Where there is none of this name.
        ValueError
            Where the file has become shorter, or its dtype has no counterpart in numpy.
        """
        entry = self.entries[name]
        if entry.dtype is None:
            msg = f"{entry.path}: tensor {name!r} has dtype {entry.dtype_name}, which is not read"
            raise ValueError(msg)
        return self.read_bytes(name).view(entry.dtype).reshape(entry.shape)

    def read_bytes(self, name: str) -> Array:
        """Read one tensor's bytes, of whatever dtype.

        Raises
        ------
        KeyError
            Where there is none of this name.
        ValueError
            Where the file has become shorter.
        """
        entry = self.entries[name]
        content = np.fromfile(entry.path, np.uint8, entry.nbytes, offset=entry.begin)
        if content.size != entry.nbytes:
            msg = f"{entry.path}: the file ended within tensor {name!r}"
            raise ValueError(msg)
        return content


# ---- reading ----


def open_tensors(path: Path) -> TensorFiles:
    """Read the headers of a file, of an index, or of the one of these that a folder holds.

    Raises
    ------
    ValueError
        Where a file is not whole or not safetensors, or the index does not fit its files; names the
        file.
    OSError
        Where a file cannot be read.
    """
    found = _find(path)
    if not found.name.endswith(".json"):
        entries, metadata = _open_one(found)
        return TensorFiles(found, entries, {found: metadata}, found.stat().st_size)
    where = _read_index(found)
    headers = {file: _open_one(file) for file in dict.fromkeys(where.values())}
    entries = {}
    for name, file in where.items():
        if name not in headers[file][0]:
            msg = f"{found}: says that tensor {name!r} is in {file.name}, which lacks it"
            raise ValueError(msg)
        entries[name] = headers[file][0][name]
    nbytes = sum(file.stat().st_size for file in (found, *headers))
    return TensorFiles(found, entries, {f: h[1] for f, h in headers.items()}, nbytes)


def _find(path: Path) -> Path:
    """Return the file or the index that `path` means."""
    if path.is_dir():
        found = sorted(path.glob(f"*{INDEX_SUFFIX}"))
        listed = {file for index in found for file in _read_index(index).values()}
        found += sorted(set(path.glob(f"*{SUFFIX}")) - listed - set(_left_over(path, found)))
        if len(found) != 1:
            names = ", ".join(file.name for file in found) or "none"
            msg = f"{path}: expected one checkpoint in the folder, found {names}; name the file"
            raise ValueError(msg)
        return found[0]
    index = index_of(path)
    return index if not path.exists() and index.exists() else path


def _left_over(folder: Path, indices: Sequence[Path]) -> Iterator[Path]:
    """Yield the shards that an index has or had: a run that was killed leaves some of these."""
    for index in indices:
        pattern = shard_names(index.name.removesuffix(INDEX_SUFFIX))
        yield from (file for file in folder.iterdir() if pattern.fullmatch(file.name))


def index_of(path: Path) -> Path:
    """Return the index of a checkpoint's shards, by the name that it would have as one file."""
    return path.with_name(f"{path.name.removesuffix(SUFFIX)}{INDEX_SUFFIX}")


def shard_names(stem: str) -> re.Pattern[str]:
    """Return what fits the names of a checkpoint's shards; `unused` may have given them a tag."""
    return re.compile(rf"{re.escape(stem)}{TAG}-\d{{5,}}-of-\d{{5,}}{re.escape(SUFFIX)}")


def _read_index(path: Path) -> dict[str, Path]:
    """Return the file of each tensor."""
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as fault:
        msg = f"{path}: not JSON: {fault}"
        raise ValueError(msg) from fault
    where = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(where, dict):
        msg = f"{path}: has no object 'weight_map' of tensor name to file name"
        raise ValueError(msg)
    for name, file in where.items():
        # A name with a path in it would read files that the checkpoint does not consist of.
        if not isinstance(file, str) or Path(file).name != file or not file.endswith(SUFFIX):
            msg = f"{path}: tensor {name!r} is in {file!r:.80}, expected a {SUFFIX} file beside it"
            raise ValueError(msg)
        if not path.with_name(file).is_file():
            msg = f"{path}: the file {file}, which holds tensor {name!r}, is not there"
            raise ValueError(msg)
    return {name: path.with_name(file) for name, file in where.items()}


def _open_one(path: Path) -> tuple[dict[str, Entry], dict[str, str]]:
    from safetensors import SafetensorError, safe_open

    if not path.is_file() or path.stat().st_size < 8:
        path.open("rb").close()  # raises what is wrong with another kind of file
        msg = f"{path}: the file is truncated: less than 8 bytes"
        raise ValueError(msg)
    try:
        with safe_open(path, framework="np"):  # validates the header against the file
            pass
    except (SafetensorError, UnicodeError) as fault:
        msg = f"{path}: not a whole safetensors file: {fault}"
        raise ValueError(msg) from fault
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        try:
            header = json.loads(file.read(length))
            metadata = header.pop("__metadata__", None) or {}
            entries = {name: _entry(path, spec, 8 + length) for name, spec in header.items()}
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as fault:
            msg = f"{path}: the header is not one that the format allows: {fault!r:.200}"
            raise ValueError(msg) from fault
    return entries, metadata


def _entry(path: Path, spec: Mapping[str, Any], start: int) -> Entry:
    """Return a tensor's place; its sizes were validated."""
    begin, end = (start + int(offset) for offset in spec["data_offsets"])
    shape, name = tuple(int(extent) for extent in spec["shape"]), str(spec["dtype"])
    dtype = DTYPES.get(name)
    if dtype is not None and math.prod(shape) * dtype.itemsize != end - begin:
        msg = f"shape {shape} of {name} in {end - begin} bytes"
        raise ValueError(msg)
    return Entry(path, dtype, name, shape, begin, end)
