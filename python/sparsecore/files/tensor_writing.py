"""Many tensors written to safetensors files: one, or several with an index as Hugging Face does."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from sparsecore.files.complete import complete_or_absent
from sparsecore.files.tensor_reading import DTYPES, INDEX_SUFFIX, SUFFIX
from sparsecore.interop import Array

__all__ = ["write_tensors"]


def write_tensors(
    path: Path,
    arrays: Mapping[str, Array],
    *,
    metadata: Callable[[Sequence[str], bool], dict[str, str]],
    group: Callable[[str], str] = str,
    shard_bytes: int | None = None,
) -> list[Path]:
    """Write arrays to one file, or to several of about `shard_bytes` and an index.

    Parameters
    ----------
    path : Path
        Ends in ``.safetensors``. Several files are ``NAME-00001-of-0000N.safetensors`` and
        ``NAME.safetensors.index.json``, which appears last. What was there is exchanged only when
        all are written.
    arrays : mapping of str to array
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
    _check_writable(path, arrays, shard_bytes)
    shards = list(_shards(arrays, group, shard_bytes))
    if len(shards) == 1:
        with complete_or_absent(path) as temporary:
            _write_one(temporary, arrays, metadata(list(arrays), True))
        return [path]
    stem, count = path.name.removesuffix(SUFFIX), len(shards)
    files = [path.with_name(f"{stem}-{i:05}-of-{count:05}{SUFFIX}") for i in range(1, count + 1)]
    index = path.with_name(f"{stem}{INDEX_SUFFIX}")
    with ExitStack() as all_complete:  # which exchanges what was entered first, the index, last
        temporary = all_complete.enter_context(complete_or_absent(index))
        temporary.write_text(_index(arrays, files, shards), encoding="utf-8")
        for i, (file, names) in enumerate(zip(files, shards, strict=True)):
            temporary = all_complete.enter_context(complete_or_absent(file))
            held = {name: arrays[name] for name in names}
            _write_one(temporary, held, metadata(names, i == 0))
        # While an older checkpoint's files are exchanged, nothing may call the mixture one.
        index.unlink(missing_ok=True)
    return [*files, index]


def _index(
    arrays: Mapping[str, Array], files: Sequence[Path], shards: Sequence[Sequence[str]]
) -> str:
    where = {n: file.name for file, names in zip(files, shards, strict=True) for n in names}
    total = sum(array.nbytes for array in arrays.values())
    content = {"metadata": {"total_size": total}, "weight_map": where}
    return json.dumps(content, indent=2) + "\n"


def _check_writable(path: Path, arrays: Mapping[str, Array], shard_bytes: int | None) -> None:
    if path.suffix != SUFFIX:
        msg = f"{path}: ends in {path.suffix!r}, expected {SUFFIX!r}"
        raise ValueError(msg)
    if shard_bytes is not None and shard_bytes < 1:
        msg = f"shard_bytes is {shard_bytes}, expected 1 or more"
        raise ValueError(msg)
    for name, array in arrays.items():
        if array.dtype not in DTYPES.values():
            msg = f"tensor {name!r} has dtype {array.dtype}, which a checkpoint does not hold"
            raise TypeError(msg)
        if name == "__metadata__":
            msg = "a tensor is called '__metadata__', which safetensors keeps for itself"
            raise ValueError(msg)


def _shards(
    arrays: Mapping[str, Array], group: Callable[[str], str], limit: int | None
) -> Iterator[list[str]]:
    """Yield the names of each file, in the order of `arrays`."""
    groups: dict[str, list[str]] = {}
    for name in arrays:
        groups.setdefault(group(name), []).append(name)
    shard: list[str] = []
    size = 0
    for names in groups.values():
        nbytes = sum(arrays[name].nbytes for name in names)
        if shard and limit is not None and size + nbytes > limit:
            yield shard
            shard, size = [], 0
        shard, size = shard + names, size + nbytes
    yield shard


def _write_one(path: Path, arrays: Mapping[str, Array], metadata: dict[str, str]) -> None:
    from safetensors.numpy import save_file

    contiguous = {name: np.ascontiguousarray(a).reshape(a.shape) for name, a in arrays.items()}
    save_file(contiguous, path, metadata=metadata or None)
