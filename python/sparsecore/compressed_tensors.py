"""Checkpoints in the sparse formats that the library compressed-tensors had, and has removed.

``sparse-24-bitmask`` and ``sparse-bitmask`` are read, ``sparse-24-bitmask`` is written. What they
look like is in ``files/bitmask.py``.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sparsecore import interop
from sparsecore.checkpoint import PathLike
from sparsecore.files.bitmask import PARTS, Weight, find_bitmasks, plain_tensors, read_bitmask
from sparsecore.files.tensor_reading import open_tensors
from sparsecore.files.tensor_writing import write_tensors
from sparsecore.formats import Sparse24
from sparsecore.interop import Array

__all__ = ["encoded", "load_compressed_tensors", "save_compressed_tensors"]


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
    weights = {name: read_bitmask(files, prefix) for name, prefix in find_bitmasks(files).items()}
    return weights | {name: files.read(name) for name in plain_tensors(files)}


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
            arrays |= encoded(name, weight)
        elif isinstance(weight, np.ndarray) or interop.is_tensor(weight):
            arrays[name] = interop.to_numpy(weight, name=f"save_compressed_tensors: {name!r}")
        else:
            kind = type(weight).__name__
            msg = f"save_compressed_tensors: {name!r} is a {kind}, expected Sparse24 or an array"
            raise TypeError(msg)
    prefixes = {f"{name.rpartition('.')[0]}.{part}": name for name in weights for part in PARTS}
    write_tensors(
        Path(path),
        arrays,
        metadata=lambda *_: {"format": "pt"},
        group=lambda name: prefixes.get(name, name),
        shard_bytes=shard_bytes,
    )


def encoded(name: str, weight: Sparse24) -> dict[str, Array]:
    """Return the tensors that ``sparse-24-bitmask`` has of a weight."""
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
