"""Checkpoints of whole models in which pruned weights are stored sparse: reading, without torch.

docs/checkpoints.md has the layout. `sparsecore.nn` saves models and loads into them.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import reduce
from operator import add
from pathlib import Path
from typing import TypeAlias

from sparsecore.files.checkpoint_header import Header, join, read_header
from sparsecore.files.layer_matrix import layer_matrix
from sparsecore.files.tensor_reading import TensorFiles, open_tensors
from sparsecore.formats import CSR, Sparse24
from sparsecore.interop import VALUE_DTYPES, Array

__all__ = ["Checkpoint", "CheckpointSize", "load_checkpoint", "open_checkpoint"]

PathLike: TypeAlias = str | os.PathLike[str]
Weight: TypeAlias = CSR | Sparse24 | Array


@dataclass(frozen=True, slots=True)
class CheckpointSize:
    """Bytes of a checkpoint on disk, beside those of the same model stored dense.

    Attributes
    ----------
    dense : int
        Of ordinary tensors: biases, norms, weights that are not sparse.
    values : int
        Of the sparse weights' values, and of the scales of int8 ones.
    indices : int
        Of their columns, row offsets and 2:4 metadata.
    headers : int
        Of everything else in the files, the index of a sharded checkpoint included.
    original : int
        Of all tensors, were every weight dense.

    Examples
    --------
    >>> size = CheckpointSize(dense=40, values=100, indices=50, headers=10, original=400)
    >>> size.total, size.ratio
    (200, 0.5)
    """

    dense: int
    values: int
    indices: int
    headers: int
    original: int

    @property
    def total(self) -> int:
        """Bytes of all files."""
        return self.dense + self.values + self.indices + self.headers

    @property
    def ratio(self) -> float:
        """`total` / `original`: below 1 the checkpoint is the smaller one; inf where that is 0."""
        return self.total / self.original if self.original else float("inf")

    def __str__(self) -> str:
        """Return one line with all parts."""
        return (
            f"{self.total:,} bytes: values {self.values:,}, indices {self.indices:,}, dense "
            f"tensors {self.dense:,}, headers {self.headers:,}; dense it would be "
            f"{self.original:,} (ratio {self.ratio:.3g})"
        )


class Checkpoint(Mapping[str, Weight]):
    """A checkpoint's weights by their names in the dense model; each is read when asked for.

    ``checkpoint["fc1.weight"]`` is a CSR or Sparse24 of numpy values, validated, where the file has
    it sparse, else a numpy array (bfloat16 by ml_dtypes). int8 values come multiplied by their
    scales, in the layer's dtype; ``checkpoint.files.read("fc1.values")`` and ``fc1.scale`` are what
    is stored. ``dict(checkpoint)`` reads all. Made by :func:`load_checkpoint`.

    Attributes
    ----------
    header : Header
        Of the sparse layers (`layers`, by name: format, dense shape, a convolution's geometry,
        activation), of tied names, and of what was fused.
    files : TensorFiles
        The tensors as they are stored.
    """

    def __init__(self, files: TensorFiles, header: Header) -> None:
        self.files, self.header = files, header
        self._layers = {join(name, "weight"): name for name in header.layers}
        _check_header(files, header)
        parts = {tensor for name, layer in header.layers.items() for tensor in layer.tensors(name)}
        plain = [name for name in files.entries if name not in parts]
        if taken := sorted(self._layers.keys() & set(plain)):
            msg = f"{files.path}: tensor {taken[0]!r} is there dense, and sparse by the header"
            raise ValueError(msg)
        self._stored = dict.fromkeys([*self._layers, *plain])
        _check_tied(files, header, self._stored)

    def __getitem__(self, name: str) -> Weight:
        """Read a weight.

        Raises
        ------
        KeyError
            Where there is none of this name.
        ValueError
            Where it is not a valid matrix; names the file and the layer.
        """
        stored = self.header.tied.get(name, name)
        if stored not in self._layers:
            return self.files.read(stored)
        layer_name = self._layers[stored]
        layer = self.header.layers[layer_name]
        arrays = [self.files.read(tensor) for tensor in layer.tensors(layer_name)]
        try:
            return layer_matrix(layer, arrays)
        except (ValueError, IndexError, TypeError, OverflowError) as fault:
            msg = f"{self.files.path}: layer {layer_name!r}: {fault}"
            raise ValueError(msg) from fault

    def __iter__(self) -> Iterator[str]:
        """Yield all names, tied ones at the end."""
        yield from self._stored
        yield from self.header.tied

    def __len__(self) -> int:
        """Return the number of names."""
        return len(self._stored) + len(self.header.tied)

    def __contains__(self, name: object) -> bool:
        """Whether there is a weight of this name; nothing is read."""
        return name in self._stored or name in self.header.tied

    @property
    def choices(self) -> dict[str, str]:
        """The format of each linear layer and convolution, as a report of `sparsify_` has them."""
        sparse = {name: layer.format for name, layer in self.header.layers.items()}
        return sparse | dict.fromkeys(self.header.dense, "dense")

    @property
    def size(self) -> CheckpointSize:
        """Bytes on disk, by part."""
        return _size(self.files, self.header)

    def __repr__(self) -> str:
        """Return one line: file, counts, bytes."""
        sparse = len(self._layers)
        rest = len(self._stored) - sparse
        return (
            f"<Checkpoint {str(self.files.path)!r}, {sparse} sparse weights, {rest} dense tensors>"
        )


# ---- reading ----


def load_checkpoint(path: PathLike) -> Checkpoint:
    """Open a checkpoint without the model's class, and without torch.

    Parameters
    ----------
    path : path
        A ``.safetensors`` file, the ``.safetensors.index.json`` of a sharded checkpoint, or a
        folder with one of these. An ordinary checkpoint has no sparse layers.

    Returns
    -------
    Checkpoint
        A mapping of name to CSR, Sparse24 or numpy array; the headers are read, weights are not.

    Raises
    ------
    ValueError
        Where a file is truncated, claims more than it holds, has another format version, or lacks a
        tensor that its header or the index names; names the file. Nothing is allocated that the
        file does not hold.
    OSError
        Where a file cannot be read.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import numpy as np
    >>> import sparsecore as sc
    >>> W = np.eye(100, dtype=np.float32)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "model.safetensors")
    ...     weights = {"fc.weight": sc.CSR.from_dense(W), "fc.bias": np.ones(100, np.float32)}
    ...     size = sc.save_checkpoint(path, weights)
    ...     loaded = sc.load_checkpoint(path)
    ...     print(loaded["fc.weight"], loaded.choices, size.original)
    <CSR 100x100, nnz=100 (density 1%), float32, columns uint8, offsets uint8, 601 bytes> \
{'fc': 'csr'} 40400
    """
    return open_checkpoint(open_tensors(Path(path)))


def open_checkpoint(files: TensorFiles) -> Checkpoint:
    """Return the checkpoint that files hold, whose own headers were read; as `load_checkpoint`."""
    try:
        headers = [read_header(metadata) for metadata in files.metadata.values()]
        if None in headers and any(header is not None for header in headers):
            names = [
                file.name for file, h in zip(files.metadata, headers, strict=True) if h is None
            ]
            msg = f"{names[0]} is of another checkpoint: it has no header of a sparse one"
            raise ValueError(msg)
        header = reduce(add, filter(None, headers), Header())
    except (ValueError, TypeError, OverflowError) as fault:
        msg = f"{files.path}: {fault}"
        raise ValueError(msg) from fault
    return Checkpoint(files, header)


def _check_header(files: TensorFiles, header: Header) -> None:
    """Raise ValueError where the files lack a tensor of a layer."""
    for name, layer in header.layers.items():
        for tensor in layer.tensors(name):
            if tensor not in files.entries:
                msg = f"{files.path}: layer {name!r} is {layer.format}, but has no {tensor!r}"
                raise ValueError(msg)


def _check_tied(files: TensorFiles, header: Header, stored: Mapping[str, object]) -> None:
    for name, other in header.tied.items():
        if other not in stored or name in stored or name in files.entries:
            msg = f"{files.path}: {name!r} cannot be tied to {other!r}: "
            raise ValueError(
                msg + ("it is stored itself" if other in stored else "that is missing")
            )


def _size(files: TensorFiles, header: Header) -> CheckpointSize:
    values = indices = original = 0
    weights: set[str] = set()
    for name, layer in header.layers.items():
        first, *rest = layer.tensors(name)
        weights |= {first, *rest}
        scale = files.entries[rest.pop()].nbytes if layer.is_scaled else 0
        values += files.entries[first].nbytes + scale
        indices += sum(files.entries[tensor].nbytes for tensor in rest)
        dtype = files.entries[first].dtype if layer.dtype is None else VALUE_DTYPES[layer.dtype]
        rows, columns = layer.matrix_shape
        original += rows * columns * (dtype.itemsize if dtype is not None else 0)
    dense = sum(entry.nbytes for name, entry in files.entries.items() if name not in weights)
    return CheckpointSize(
        dense=dense,
        values=values,
        indices=indices,
        headers=files.nbytes - dense - values - indices,
        original=original + dense,
    )
