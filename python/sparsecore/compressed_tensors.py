"""Checkpoints in the sparse formats that the library compressed-tensors had, and has removed.

``sparse-24-bitmask`` and ``sparse-bitmask``, as ``sparse_24_bitmask.py`` and ``sparse_bitmask.py``
under ``src/compressed_tensors/compressors/sparse_compressors`` of
https://github.com/neuralmagic/compressed-tensors wrote them. For each ``MODULE.weight`` of R rows
and C columns there are, instead of it:

- ``MODULE.compressed``: the kept values in row-major order; (R, C / 2) in ``sparse-24-bitmask``,
  one axis in ``sparse-bitmask``;
- ``MODULE.bitmask``: uint8 (R, ceil(C / 8)), bit j of byte b set where column ``8 b + j`` is kept;
- ``MODULE.shape``: int64 (2, 1), or (2,) in ``sparse-bitmask``: R and C;
- ``MODULE.row_offsets``, in ``sparse-bitmask`` only: int64 (R,), where each row begins.

The first writers kept the weight's name whole: ``MODULE.weight.compressed``. In
``sparse-24-bitmask`` two bits of each group of four are set, also where fewer values are not zero:
the zeros (or -0.0) among the kept ones are values then.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from sparsecore import interop
from sparsecore.checkpoint import PathLike
from sparsecore.files.tensor_reading import TensorFiles, open_tensors
from sparsecore.files.tensor_writing import write_tensors
from sparsecore.formats import CSR, Sparse24
from sparsecore.interop import VALUE_DTYPES, Array

__all__ = ["load_compressed_tensors", "save_compressed_tensors"]

Weight: TypeAlias = CSR | Sparse24 | Array
_PARTS = ("compressed", "bitmask", "shape")


def load_compressed_tensors(path: PathLike) -> dict[str, Weight]:
    """Read a checkpoint in ``sparse-24-bitmask`` or ``sparse-bitmask``.

    Parameters
    ----------
    path : path
        A ``.safetensors`` file, an index of several, or a folder with one of these.

    Returns
    -------
    dict of str to Sparse24, CSR or numpy array
        By the names of the dense model. What the bitmask marks is a Sparse24 where each group of
        four columns has two nonzeros at most (a kept -0.0 becomes +0.0), a CSR where it came with
        row offsets, and else, or where its dtype has no kernel (float8), a dense array. Other
        tensors are arrays as they are stored.

    Raises
    ------
    ValueError
        Where a file is not whole, or a weight's parts are missing or do not fit together; names the
        file and the weight.
    OSError
        Where a file cannot be read.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import numpy as np
    >>> import sparsecore as sc
    >>> S = sc.Sparse24.from_dense(np.array([[1, 0, 0, 2, 0, 3, 4, 0]], dtype=np.float32))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "model.safetensors")
    ...     sc.save_compressed_tensors(path, {"fc.weight": S, "fc.bias": np.zeros(1)})
    ...     weights = sc.load_compressed_tensors(path)
    >>> weights["fc.weight"].equals(S), weights["fc.bias"]
    (True, array([0.]))
    """
    files = open_tensors(Path(path))
    prefixes = [
        name.removesuffix(".bitmask") for name in files.entries if name.endswith(".bitmask")
    ]
    weights: dict[str, Weight] = {}
    parts: set[str] = set()
    for prefix in prefixes:
        found = _parts(files, prefix)
        parts |= found.keys()
        arrays = {name.removeprefix(f"{prefix}."): files.read(name) for name in found}
        try:
            weight = _decoded(arrays)
        except (ValueError, IndexError, TypeError, OverflowError) as fault:
            msg = f"{files.path}: the weight of {prefix!r}: {fault}"
            raise ValueError(msg) from fault
        weights[_weight_name(prefix)] = weight
    rest = [name for name in files.entries if name not in parts]
    if taken := sorted(weights.keys() & set(rest)):
        msg = f"{files.path}: {taken[0]!r} is there twice, dense and by a bitmask"
        raise ValueError(msg)
    return weights | {name: files.read(name) for name in rest}


def _weight_name(prefix: str) -> str:
    is_whole = prefix == "weight" or prefix.endswith(".weight")
    return prefix if is_whole else f"{prefix}.weight"


def _parts(files: TensorFiles, prefix: str) -> dict[str, None]:
    """Return the names of a weight's tensors."""
    names = [f"{prefix}.{part}" for part in _PARTS]
    if missing := [name for name in names if name not in files.entries]:
        msg = f"{files.path}: has {prefix + '.bitmask'!r}, but no {missing[0]!r}"
        raise ValueError(msg)
    offsets = f"{prefix}.row_offsets"
    return dict.fromkeys([*names, offsets] if offsets in files.entries else names)


# ---- one weight ----


def _decoded(parts: Mapping[str, Array]) -> Weight:
    mask, values = _mask(parts["bitmask"], parts["shape"]), parts["compressed"].reshape(-1)
    kept = int(np.count_nonzero(mask))
    if values.size != kept:
        shape = parts["compressed"].shape
        msg = f"'compressed' has shape {shape}, but the bitmask marks {kept} values"
        raise ValueError(msg)
    has_kernel = values.dtype in VALUE_DTYPES.values()
    if "row_offsets" in parts:
        _check_offsets(parts["row_offsets"], mask)
        if has_kernel:
            indptr = np.concatenate([[0], np.cumsum(mask.sum(axis=1))])
            return CSR((values, np.nonzero(mask)[1], indptr), mask.shape)
    dense = np.zeros(mask.shape, values.dtype)
    dense[mask] = values
    return Sparse24.from_dense(dense) if has_kernel and _is_24(dense) else dense


def _mask(bitmask: Array, shape: Array) -> Array:
    """Return the bits as booleans, (R, C)."""
    sizes = [int(size) for size in shape.reshape(-1)] if shape.dtype.kind in "iu" else []
    if len(sizes) != 2 or min(sizes) < 0:
        msg = f"'shape' is {shape.dtype} {sizes}, expected the two sizes of a matrix"
        raise ValueError(msg)
    rows, columns = sizes
    if bitmask.dtype != np.uint8 or bitmask.shape != (rows, -(-columns // 8)):
        msg = (
            f"'bitmask' is {bitmask.dtype} of shape {bitmask.shape}, expected uint8 of "
            f"{(rows, -(-columns // 8))} for {rows} x {columns}"
        )
        raise ValueError(msg)
    bits = np.unpackbits(bitmask, axis=1, bitorder="little").astype(bool)
    if bits[:, columns:].any():
        row = int(np.argmax(bits[:, columns:].any(axis=1)))
        msg = f"'bitmask' marks a column past the last of {columns} in row {row}"
        raise ValueError(msg)
    return bits[:, :columns]


def _check_offsets(offsets: Array, mask: Array) -> None:
    counts = mask.sum(axis=1)
    expected = np.cumsum(counts) - counts
    if not np.array_equal(offsets, expected):
        msg = "'row_offsets' are not where the rows of the bitmask begin"
        raise ValueError(msg)


def _is_24(dense: Array) -> bool:
    rows, columns = dense.shape
    kept = np.zeros((rows, -(-columns // 4) * 4), bool)
    kept[:, :columns] = dense != 0
    return bool((kept.reshape(rows, kept.shape[1] // 4, 4).sum(axis=2) <= 2).all())


# ---- writing ----


def save_compressed_tensors(
    path: PathLike, weights: Mapping[str, Any], *, shard_bytes: int | None = None
) -> None:
    """Write a checkpoint in ``sparse-24-bitmask``.

    Parameters
    ----------
    path : path
        Ends in ``.safetensors``. A model's ``config.json``, which names the format in its
        ``sparsity_config``, is not written.
    weights : mapping of str to Sparse24, numpy array or torch tensor
        By their names in the dense model's state_dict. A Sparse24, whose name ends in ``.weight``,
        becomes values and a bitmask, with two values for each group of four; others are stored as
        they are. ``Sparse24.from_dense`` makes one of a dense 2:4 weight.
    shard_bytes : int, optional
        Write several files and an index, as `sparsecore.save_checkpoint` does.

    Raises
    ------
    ValueError
        Where a Sparse24's name does not end in ``.weight``, or its columns are no multiple of 4,
        which the format does not have.
    TypeError
        Where a weight is something else.
    """
    arrays: dict[str, Array] = {}
    for name, weight in weights.items():
        if isinstance(weight, Sparse24):
            arrays |= _encoded(name, weight)
        elif isinstance(weight, np.ndarray) or interop.is_tensor(weight):
            arrays[name] = interop.to_numpy(weight, name=f"save_compressed_tensors: {name!r}")
        else:
            kind = type(weight).__name__
            msg = f"save_compressed_tensors: {name!r} is a {kind}, expected Sparse24 or an array"
            raise TypeError(msg)
    prefixes = {f"{name.rpartition('.')[0]}.{part}": name for name in weights for part in _PARTS}
    write_tensors(
        Path(path),
        arrays,
        metadata=lambda *_: {"format": "pt"},
        group=lambda name: prefixes.get(name, name),
        shard_bytes=shard_bytes,
    )


def _encoded(name: str, weight: Sparse24) -> dict[str, Array]:
    rows, columns = weight.shape
    prefix = name.removesuffix(".weight")
    if prefix == name or columns % 4:
        msg = (
            f"save_compressed_tensors: {name!r} has {columns} columns, expected a name that ends "
            "in '.weight' and a multiple of 4"
        )
        raise ValueError(msg)
    mask = np.zeros((rows, columns), bool)
    np.put_along_axis(mask, weight._structure.column_ids(), True, axis=1)
    return {
        f"{prefix}.compressed": interop.to_numpy(weight.values, name=name),
        f"{prefix}.bitmask": np.packbits(mask, axis=1, bitorder="little"),
        f"{prefix}.shape": np.array([[rows], [columns]], dtype=np.int64),
    }
