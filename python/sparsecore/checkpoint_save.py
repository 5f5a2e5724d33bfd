"""Checkpoints of whole models in which pruned weights are stored sparse: writing, without torch."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sparsecore import interop
from sparsecore.checkpoint import CheckpointSize, PathLike, load_checkpoint
from sparsecore.files.checkpoint_header import Header, Layer
from sparsecore.files.parts import take_apart
from sparsecore.files.tensor_writing import Planned, write_planned
from sparsecore.formats import CSR, Sparse24
from sparsecore.interop import Array

__all__ = [
    "layer_name",
    "save_checkpoint",
    "stored_arrays",
    "write_checkpoint",
    "write_planned_checkpoint",
]


def save_checkpoint(
    path: PathLike,
    weights: Mapping[str, Any],
    *,
    weight_shapes: Mapping[str, Sequence[int]] | None = None,
    shard_bytes: int | None = None,
) -> CheckpointSize:
    """Write weights to a checkpoint that `load_checkpoint` and `sparsecore.nn` read.

    Parameters
    ----------
    path : path
        Ends in ``.safetensors``; each file appears only when it is complete.
    weights : mapping of str to CSR, Sparse24, numpy array or torch tensor
        By their names in the dense model's state_dict; that of a matrix ends in ``weight``.
    weight_shapes : mapping of str to four ints, optional
        Of those that are a convolution's: the dense weight's shape, whose last three axes are the
        matrix's columns.
    shard_bytes : int, optional
        Write several files of at most so many bytes of tensors, and an index, as Hugging Face does.
        A sparse layer's tensors stay in one file, which can then be larger.

    Returns
    -------
    CheckpointSize

    Raises
    ------
    ValueError
        Where a matrix's name does not end in ``weight``, or a shape does not fit its matrix.
    TypeError
        Where a weight is something else, or of a dtype that files do not hold.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import numpy as np
    >>> import sparsecore as sc
    >>> A = sc.CSR.from_dense(np.eye(4, 18, dtype=np.float32))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "model.safetensors")
    ...     shapes = {"conv.weight": (4, 2, 3, 3)}
    ...     size = sc.save_checkpoint(path, {"conv.weight": A}, weight_shapes=shapes)
    >>> size.values, size.indices, size.original
    (16, 9, 288)
    """
    shapes = dict(weight_shapes or {})
    arrays: dict[str, Array] = {}
    layers: dict[str, Layer] = {}
    for name, weight in weights.items():
        if not isinstance(weight, CSR | Sparse24):
            arrays[name] = _as_array(weight, name)
            continue
        module = layer_name(name)
        layer = Layer(
            "csr" if isinstance(weight, CSR) else "2:4", tuple(shapes.pop(name, weight.shape))
        )
        _check_shape(name, layer, weight.shape)
        layers[module] = layer
        arrays |= zip(layer.tensors(module), stored_arrays(weight), strict=True)
    if shapes:
        msg = f"save_checkpoint: weight_shapes names {min(shapes)!r}, which is no matrix of weights"
        raise ValueError(msg)
    return write_checkpoint(Path(path), arrays, Header(layers), shard_bytes)


def write_checkpoint(
    path: Path, arrays: Mapping[str, Array], header: Header, shard_bytes: int | None
) -> CheckpointSize:
    """Write tensors as they are stored, and their header."""
    planned = {name: Planned.of(name, a.dtype, a.shape) for name, a in arrays.items()}
    return write_planned_checkpoint(path, planned, arrays.__getitem__, header, shard_bytes)


def write_planned_checkpoint(
    path: Path,
    planned: Mapping[str, Planned],
    read: Callable[[str], Array],
    header: Header,
    shard_bytes: int | None,
) -> CheckpointSize:
    """Write tensors that are asked for one by one, and their header."""
    group = {
        tensor: name for name, layer in header.layers.items() for tensor in layer.tensors(name)
    }
    written = write_planned(
        path,
        planned,
        read,
        metadata=header.metadata,
        group=lambda name: f"layer {group[name]}" if name in group else f"tensor {name}",
        shard_bytes=shard_bytes,
    )
    return load_checkpoint(written[-1]).size


def layer_name(name: str) -> str:
    """Return the layer that a matrix is the weight of.

    Raises
    ------
    ValueError
        Where its name does not end in ``weight``.
    """
    layer, _, last = name.rpartition(".")
    if last != "weight":
        msg = f"save_checkpoint: the matrix {name!r} is not called 'weight', as those of layers are"
        raise ValueError(msg)
    return layer


def _check_shape(name: str, layer: Layer, shape: tuple[int, int]) -> None:
    if len(layer.weight_shape) not in (2, 4) or layer.matrix_shape != shape:
        msg = f"save_checkpoint: {name!r} has shape {shape}, weight_shapes {layer.weight_shape}"
        raise ValueError(msg)


def _as_array(weight: Any, name: str) -> Array:
    if isinstance(weight, np.ndarray) or interop.is_tensor(weight):
        return interop.to_numpy(weight, name=f"save_checkpoint: {name!r}")
    msg = f"save_checkpoint: {name!r} is a {type(weight).__name__}, expected a matrix or an array"
    raise TypeError(msg)


def stored_arrays(weight: CSR | Sparse24) -> list[Array]:
    """Return a weight's arrays as torch modules hold them: indices in narrow signed integers."""
    values, *indices = take_apart(weight).arrays.values()
    return [values, *(indices if isinstance(weight, Sparse24) else map(_narrowed, indices))]


def _narrowed(indices: Array) -> Array:
    largest = int(indices.max(initial=0))
    signed = (np.int8, np.int16, np.int32, np.int64)
    return indices.astype(next(dtype for dtype in signed if largest <= np.iinfo(dtype).max))
