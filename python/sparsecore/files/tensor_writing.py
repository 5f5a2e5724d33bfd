"""Many tensors written to safetensors files: one, or several with an index as Hugging Face does.

A tensor is asked for when it is written, and then let go: what is written needs no memory but for
one tensor.
"""

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sparsecore.files.complete import complete_or_absent
from sparsecore.files.replacing import unused
from sparsecore.files.tensor_reading import DTYPES, SUFFIX, index_of, shard_names
from sparsecore.interop import Array

__all__ = ["Planned", "named_shards", "write_planned", "write_tensors"]

_CODES = {dtype: code for code, dtype in DTYPES.items()}


@dataclass(frozen=True, slots=True)
class Planned:
    """A tensor that is to be written: its dtype by safetensors' code, its shape and its bytes."""

    code: str
    shape: tuple[int, ...]
    nbytes: int

    @property
    def itemsize(self) -> int:
        """Bytes of an element, rounded down; 0 where there is none."""
        return self.nbytes // max(math.prod(self.shape), 1)

    @classmethod
    def of(cls, name: str, dtype: np.dtype[Any], shape: Sequence[int]) -> "Planned":
        """Plan an array.

        Raises
        ------
        TypeError
            Where safetensors files do not hold its dtype.
        """
        code = _CODES.get(dtype)
        if code is None:
            msg = f"tensor {name!r} has dtype {dtype}, which a checkpoint does not hold"
            raise TypeError(msg)
        return cls(code, tuple(shape), math.prod(shape) * dtype.itemsize)


def write_tensors(
    path: Path,
    arrays: Mapping[str, Array],
    *,
    metadata: Callable[[Sequence[str], bool], dict[str, str]],
    group: Callable[[str], str] = str,
    shard_bytes: int | None = None,
) -> list[Path]:
    """Write arrays; all else is as in `write_planned`."""
    planned = {name: Planned.of(name, a.dtype, a.shape) for name, a in arrays.items()}
    read = arrays.__getitem__
    return write_planned(
        path, planned, read, metadata=metadata, group=group, shard_bytes=shard_bytes
    )


def write_planned(
    path: Path,
    planned: Mapping[str, Planned],
    read: Callable[[str], Array],
    *,
    metadata: Callable[[Sequence[str], bool], dict[str, str]],
    group: Callable[[str], str] = str,
    shard_bytes: int | None = None,
) -> list[Path]:
    """Write tensors to one file, or to several of about `shard_bytes` and an index.

    Parameters
    ----------
    path : Path
        Ends in ``.safetensors``. Several files are ``NAME-00001-of-0000N.safetensors`` and
        ``NAME.safetensors.index.json``, which appears last. Where a file of such a name is there,
        all have a tag, ``NAME-1a2b3c4d-00001-of-0000N.safetensors``, and the shards that an older
        index named go when the new one is there. A symbolic link is replaced, not followed.
    planned : mapping of str to Planned
    read : callable
        ``read(name)`` is the array, or its bytes; it is asked once for each.
    metadata : callable
        ``metadata(names, first)`` is that of a file with the tensors `names`; `first` of the first.
    group : callable
        Tensors of one group stay in one file.
    shard_bytes : int, optional
        Of the tensors in a file at most, unless one group has more.

    Returns
    -------
    list of Path
        What was written.
    """
    _check_writable(path, planned, shard_bytes)
    shards = list(_shards(planned, group, shard_bytes))
    if len(shards) == 1:
        with complete_or_absent(path) as temporary:
            _write_one(temporary, planned, read, metadata(list(planned), True))
        return [path]
    files, index = _shard_files(path, len(shards)), index_of(path)
    older = named_shards(path)
    with ExitStack() as all_complete:  # which exchanges what was entered first, the index, last
        temporary = all_complete.enter_context(complete_or_absent(index))
        temporary.write_text(_index(planned, files, shards), encoding="utf-8")
        for i, (file, names) in enumerate(zip(files, shards, strict=True)):
            temporary = all_complete.enter_context(complete_or_absent(file))
            held = {name: planned[name] for name in names}
            _write_one(temporary, held, read, metadata(names, i == 0))
    for file in older:
        file.unlink(missing_ok=True)
    return [*files, index]


def named_shards(path: Path) -> list[Path]:
    """Return the files of an older checkpoint called `path` that `write_planned` replaces.

    Those that its index names and that have such names as `write_planned` gives: an index may name
    anything, and only these are its own.
    """
    try:
        where = json.loads(index_of(path).read_text(encoding="utf-8"))["weight_map"]
        names = {name for name in where.values() if isinstance(name, str)}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return []  # there is none that could be read
    pattern = shard_names(path.name.removesuffix(SUFFIX))
    return [path.with_name(name) for name in sorted(names) if pattern.fullmatch(name)]


def _shard_files(path: Path, count: int) -> Sequence[Path]:
    stem = path.name.removesuffix(SUFFIX)

    def names(tag: str) -> list[Path]:
        numbers = range(1, count + 1)
        return [path.with_name(f"{stem}{tag}-{i:05}-of-{count:05}{SUFFIX}") for i in numbers]

    return unused(names)


def _index(
    planned: Mapping[str, Planned], files: Sequence[Path], shards: Sequence[Sequence[str]]
) -> str:
    where = {n: file.name for file, names in zip(files, shards, strict=True) for n in names}
    total = sum(tensor.nbytes for tensor in planned.values())
    content = {"metadata": {"total_size": total}, "weight_map": where}
    return json.dumps(content, indent=2) + "\n"


def _check_writable(path: Path, planned: Mapping[str, Planned], shard_bytes: int | None) -> None:
    if path.suffix != SUFFIX:
        msg = f"{path}: ends in {path.suffix!r}, expected {SUFFIX!r}"
        raise ValueError(msg)
    if shard_bytes is not None and shard_bytes < 1:
        msg = f"shard_bytes is {shard_bytes}, expected 1 or more"
        raise ValueError(msg)
    if "__metadata__" in planned:
        msg = "a tensor is called '__metadata__', which safetensors keeps for itself"
        raise ValueError(msg)


def _shards(
    planned: Mapping[str, Planned], group: Callable[[str], str], limit: int | None
) -> Iterator[list[str]]:
    """Yield the names of each file, in the order of `planned`."""
    groups: dict[str, list[str]] = {}
    for name in planned:
        groups.setdefault(group(name), []).append(name)
    shard: list[str] = []
    size = 0
    for names in groups.values():
        nbytes = sum(planned[name].nbytes for name in names)
        if shard and limit is not None and size + nbytes > limit:
            yield shard
            shard, size = [], 0
        shard, size = shard + names, size + nbytes
    yield shard


def _write_one(
    path: Path,
    planned: Mapping[str, Planned],
    read: Callable[[str], Array],
    metadata: dict[str, str],
) -> None:
    """Write a file. The package safetensors would take all tensors at once.

    The widest elements come first, so that each tensor is aligned in the file.
    """
    names = sorted(planned, key=lambda name: (-planned[name].itemsize, name))
    header: dict[str, Any] = {"__metadata__": metadata} if metadata else {}
    end = 0
    for name in names:
        begin, end = end, end + planned[name].nbytes
        header[name] = {
            "dtype": planned[name].code,
            "shape": planned[name].shape,
            "data_offsets": (begin, end),
        }
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    with path.open("xb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name in names:
            content = np.ascontiguousarray(read(name)).reshape(-1).view(np.uint8)
            if content.size != planned[name].nbytes:
                msg = f"tensor {name!r} has {content.size} bytes, expected {planned[name].nbytes}"
                raise ValueError(msg)
            file.write(content.data)
