"""Weights that a bitmask marks in safetensors files, as the library compressed-tensors had them.

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

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeAlias

import numpy as np

from sparsecore.files.tensor_reading import TensorFiles
from sparsecore.formats import CSR, Sparse24
from sparsecore.interop import VALUE_DTYPES, Array

__all__ = [
    "PARTS",
    "Weight",
    "find_bitmasks",
    "is_24",
    "parts_of",
    "plain_tensors",
    "read_bitmask",
    "read_shape",
]

Weight: TypeAlias = CSR | Sparse24 | Array
PARTS = ("compressed", "bitmask", "shape")
_MASK = ".bitmask"
_OFFSETS = "row_offsets"


def find_bitmasks(files: TensorFiles) -> dict[str, str]:
    """Return the weights that are stored by a bitmask, by name: what their tensors begin with.

    Raises
    ------
    ValueError
        Where a weight's parts are missing, or it is there dense, too.
    """
    names = [n for n in files.entries if n.endswith(_MASK)]
    found: dict[str, str] = {}
    for prefix in (name.removesuffix(_MASK) for name in names):
        parts = [f"{prefix}.{part}" for part in PARTS]
        if missing := [name for name in parts if name not in files.entries]:
            msg = f"{files.path}: has {prefix + _MASK!r}, but no {missing[0]!r}"
            raise ValueError(msg)
        name = _weight_name(prefix)
        if name in files.entries or name in found:
            other = "dense and by a bitmask" if name in files.entries else "by two bitmasks"
            msg = f"{files.path}: {name!r} is there twice, {other}"
            raise ValueError(msg)
        found[name] = prefix
    return found


def plain_tensors(files: TensorFiles) -> list[str]:
    """Return the names of the tensors that are no part of a weight by a bitmask."""
    parts = {
        f"{name.removesuffix(_MASK)}.{part}"
        for name in files.entries
        if name.endswith(_MASK)
        for part in (*PARTS, _OFFSETS)
    }
    return [name for name in files.entries if name not in parts]


def parts_of(files: TensorFiles, prefix: str) -> dict[str, str]:
    """Return the tensors of a weight by a bitmask: by part, their names in the files."""
    names = {part: f"{prefix}.{part}" for part in (*PARTS, _OFFSETS)}
    return {part: name for part, name in names.items() if name in files.entries}


def read_bitmask(files: TensorFiles, prefix: str) -> Weight:
    """Read a weight that is stored by a bitmask.

    Raises
    ------
    ValueError
        Where its parts do not fit together; names the file and the weight.
    """
    arrays = {part: files.read(name) for part, name in parts_of(files, prefix).items()}
    with _naming(files, prefix):
        return _decoded(arrays)


def read_shape(files: TensorFiles, prefix: str) -> tuple[int, int]:
    """Read the shape of a weight that is stored by a bitmask, and compare it with the bitmask's.

    Raises
    ------
    ValueError
        Where it is none; names the file and the weight.
    """
    mask = files.entries[f"{prefix}{_MASK}"]
    shape = files.entries[f"{prefix}.shape"]
    with _naming(files, prefix):
        if math.prod(shape.shape) != 2:
            msg = f"'shape' has shape {shape.shape}, expected the two sizes of a matrix"
            raise ValueError(msg)
        return _checked_shape(files.read(f"{prefix}.shape"), mask.dtype, mask.shape)


@contextmanager
def _naming(files: TensorFiles, prefix: str) -> Iterator[None]:
    """Let errors name the file and the weight."""
    try:
        yield
    except (ValueError, IndexError, TypeError, OverflowError) as fault:
        msg = f"{files.path}: the weight of {prefix!r}: {fault}"
        raise ValueError(msg) from fault


def _weight_name(prefix: str) -> str:
    is_whole = prefix == "weight" or prefix.endswith(".weight")
    return prefix if is_whole else f"{prefix}.weight"


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
    return Sparse24.from_dense(dense) if has_kernel and is_24(dense) else dense


def _mask(bitmask: Array, shape: Array) -> Array:
    """Return the bits as booleans, (R, C)."""
    _, columns = _checked_shape(shape, bitmask.dtype, bitmask.shape)
    bits = np.unpackbits(bitmask, axis=1, bitorder="little").astype(bool)
    if bits[:, columns:].any():
        row = int(np.argmax(bits[:, columns:].any(axis=1)))
        msg = f"'bitmask' marks a column past the last of {columns} in row {row}"
        raise ValueError(msg)
    return bits[:, :columns]


def _checked_shape(
    shape: Array, mask_dtype: np.dtype[Any] | None, mask_shape: tuple[int, ...]
) -> tuple[int, int]:
    """Return the sizes that a weight's `shape` has, where its bitmask fits them."""
    sizes = [int(size) for size in shape.reshape(-1)] if shape.dtype.kind in "iu" else []
    if len(sizes) != 2 or min(sizes) < 0:
        msg = f"'shape' is {shape.dtype} {sizes}, expected the two sizes of a matrix"
        raise ValueError(msg)
    rows, columns = sizes
    if mask_dtype != np.uint8 or mask_shape != (rows, -(-columns // 8)):
        msg = (
            f"'bitmask' is {mask_dtype} of shape {mask_shape}, expected uint8 of "
            f"{(rows, -(-columns // 8))} for {rows} x {columns}"
        )
        raise ValueError(msg)
    return rows, columns


def _check_offsets(offsets: Array, mask: Array) -> None:
    counts = mask.sum(axis=1)
    expected = np.cumsum(counts) - counts
    if not np.array_equal(offsets, expected):
        msg = "'row_offsets' are not where the rows of the bitmask begin"
        raise ValueError(msg)


def is_24(matrix: Array) -> bool:
    """Whether no group of four columns, nor the columns left over, has more than two nonzeros.

    Examples
    --------
    >>> is_24(np.array([[1, 0, 2, 0, 3, 4]])), is_24(np.array([[1, 0, 2, 3]]))
    (True, False)
    """
    rows, columns = matrix.shape
    kept = np.zeros((rows, -(-columns // 4) * 4), bool)
    kept[:, :columns] = matrix != 0
    return bool((kept.reshape(rows, kept.shape[1] // 4, 4).sum(axis=2) <= 2).all())
