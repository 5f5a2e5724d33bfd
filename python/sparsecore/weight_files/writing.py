"""One way out to files of weights of every kind."""

from collections.abc import Sequence
from pathlib import Path

from sparsecore.files.tensor_reading import TensorFiles, index_of
from sparsecore.files.tensor_writing import named_shards
from sparsecore.weight_files.opening import TORCH_SUFFIXES
from sparsecore.weight_files.plan import Plan
from sparsecore.weight_files.to_bitmask import plan_bitmask
from sparsecore.weight_files.to_npz import plan_matrix, plan_npz
from sparsecore.weight_files.to_onnx import plan_onnx
from sparsecore.weight_files.to_safetensors import plan_safetensors
from sparsecore.weight_files.to_sparse import plan_sparse
from sparsecore.weight_files.to_torch import plan_torch
from sparsecore.weight_files.weights import WeightFiles

__all__ = ["KINDS", "kind_by_ending", "plan_writing"]

KINDS = ("sparsecore", "safetensors", "compressed-tensors", "torch", "onnx", "npz")
_IN_SAFETENSORS = ("sparsecore", "safetensors", "compressed-tensors")
_SUFFIXES = {".onnx": "onnx", ".npz": "npz", **dict.fromkeys(TORCH_SUFFIXES, "torch")}


def kind_by_ending(target: Path, *, safetensors: str) -> str:
    """Return the kind of file that an ending means; `safetensors` is the kind of that ending.

    Raises
    ------
    ValueError
        Where no kind has it.
    """
    suffix = target.suffix.lower()
    if suffix == ".safetensors":
        return safetensors
    if suffix not in _SUFFIXES:
        expected = ", ".join((".safetensors", *_SUFFIXES))
        msg = (
            f"{target}: ends in {target.suffix!r}, expected '.safetensors' or another of {expected}"
        )
        raise ValueError(msg)
    return _SUFFIXES[suffix]


def plan_writing(
    weights: WeightFiles,
    target: Path,
    kind: str,
    *,
    skip: Sequence[str] = (),
    shard_bytes: int | None = None,
) -> Plan:
    """Plan the files that weights are written to; nothing is written before ``plan.write()``.

    Parameters
    ----------
    weights : WeightFiles
        Maybe with some replaced.
    target : Path
    kind : str
        One of `KINDS`. "sparsecore": each layer's weight as takes the fewest bytes.
        "compressed-tensors": by bitmask where it is 2:4. The others are dense, with the zeros.
    skip : sequence of str
        Names, or patterns of them as of file names, of weights that stay dense.
    shard_bytes : int, optional
        Bytes of the tensors in one safetensors file; without it the largest of the files that the
        weights come from, where these are several.

    Raises
    ------
    ValueError, TypeError
        Where the kind cannot hold the weights.
    ModuleNotFoundError
        Where it needs a package that is not installed.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from sparsecore.weight_files import open_weights
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     source, target = Path(folder, "in.npz"), Path(folder, "out.safetensors")
    ...     np.savez(source, **{"fc.weight": np.eye(64), "fc.bias": np.ones(64)})
    ...     plan = plan_writing(open_weights(source), target, "sparsecore")
    ...     written = plan.write()
    ...     entry = open_weights(target)["fc.weight"]
    >>> [(found.name, found.stored) for found in plan.outcomes], entry.stored, entry.nbytes
    ([('fc.weight', 'csr')], 'csr', 641)
    """
    _check_ending(target, kind)
    _check_apart(weights, target)
    if shard_bytes is not None and kind not in _IN_SAFETENSORS:
        msg = f"{target}: shard_bytes is for safetensors, not for {kind}"
        raise ValueError(msg)
    if shard_bytes is None and kind in _IN_SAFETENSORS:
        shard_bytes = _largest_shard(weights)
    if kind == "sparsecore":
        if _is_one_matrix(weights):
            return plan_matrix(weights, target)
        return plan_sparse(weights, target, skip, shard_bytes)
    if kind == "compressed-tensors":
        return plan_bitmask(weights, target, skip, shard_bytes)
    if kind == "safetensors":
        return plan_safetensors(weights, target, shard_bytes)
    return {"torch": plan_torch, "onnx": plan_onnx, "npz": plan_npz}[kind](weights, target)


def _check_ending(target: Path, kind: str) -> None:
    """Raise ValueError where a name would say that the file is of another kind."""
    meant = kind_by_ending(target, safetensors=_IN_SAFETENSORS[0])
    if meant != (_IN_SAFETENSORS[0] if kind in _IN_SAFETENSORS else kind):
        msg = f"{target}: ends in {target.suffix!r}, which is not that of a file of {kind}"
        raise ValueError(msg)


def _check_apart(weights: WeightFiles, target: Path) -> None:
    """Raise ValueError where the files that are read would be written over."""
    gone = (target, index_of(target), *named_shards(target))
    for file in weights.files:
        if any(path.exists() and path.samefile(file) for path in gone):
            msg = f"{target}: would be written over {file.name}, which is read; choose another name"
            raise ValueError(msg)


def _is_one_matrix(weights: WeightFiles) -> bool:
    """Whether weights are of a file of one matrix, whose name is no layer's."""
    return len(weights) == 1 and all(
        entry.stored in ("csr", "coo", "2:4") and weights.path.stem == entry.name
        for entry in weights.values()
    )


def _largest_shard(weights: WeightFiles) -> int | None:
    """Return the bytes of the largest of several safetensors files."""
    files = getattr(weights.source, "files", weights.source)
    if not isinstance(files, TensorFiles) or len(files.metadata) < 2:
        return None
    sizes = dict.fromkeys(files.metadata, 0)
    for entry in files.entries.values():
        sizes[entry.path] += entry.nbytes
    return max(sizes.values())
