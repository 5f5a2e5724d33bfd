"""Weights of safetensors files: dense, by bitmask, or as sparsecore itself writes them."""

from collections.abc import Iterator
from pathlib import Path

from sparsecore.checkpoint import Checkpoint, open_checkpoint
from sparsecore.files import safetensors
from sparsecore.files.bitmask import (
    find_bitmasks,
    parts_of,
    plain_tensors,
    read_bitmask,
    read_shape,
)
from sparsecore.files.checkpoint_header import KEY, Layer, join
from sparsecore.files.parts import ARRAY_NAMES
from sparsecore.files.tensor_reading import TensorFiles, open_tensors
from sparsecore.formats import CSR, Sparse24
from sparsecore.interop import Array
from sparsecore.weight_files.entry import Entry, Use
from sparsecore.weight_files.matrix import as_weight, matrix_entry
from sparsecore.weight_files.weights import WeightFiles, naming

__all__ = ["open_safetensors"]


def open_safetensors(path: Path) -> WeightFiles:
    """Open one file, an index of several, or a folder; see `open_weights`."""
    files = open_tensors(path)
    with naming(files.path):
        metadata = next(iter(files.metadata.values()), {})
        if metadata.get("format") in ARRAY_NAMES and "version" in metadata:
            return _matrix(files)
        if any(KEY in metadata for metadata in files.metadata.values()):
            return _checkpoint(files)
        if bitmasks := find_bitmasks(files):
            return _bitmasks(files, bitmasks)
    entries = [_plain(files, name) for name in files.entries]
    return WeightFiles(_paths(files), "safetensors", entries, files.read, files)


def _paths(files: TensorFiles) -> tuple[Path, ...]:
    """Return all files, the index first where there is one."""
    return tuple(dict.fromkeys([files.path, *files.metadata]))


def _plain(files: TensorFiles, name: str, use: Use | None = None) -> Entry:
    """Return the entry of a tensor that is stored dense."""
    found = files.entries[name]
    dtype = found.dtype_name if found.dtype is None else found.dtype.name
    return Entry(name, found.shape, dtype, found.nbytes, "dense", use)


# ---- by bitmask ----


def _bitmasks(files: TensorFiles, bitmasks: dict[str, str]) -> WeightFiles:
    def entry(name: str, prefix: str) -> Entry:
        parts = {part: files.entries[tensor] for part, tensor in parts_of(files, prefix).items()}
        values = parts["compressed"]
        dtype = values.dtype_name if values.dtype is None else values.dtype.name
        nbytes = sum(part.nbytes for part in parts.values())
        return Entry(name, read_shape(files, prefix), dtype, nbytes, "bitmask")

    def read(name: str) -> CSR | Sparse24 | Array:
        return read_bitmask(files, bitmasks[name]) if name in bitmasks else files.read(name)

    entries = [entry(name, prefix) for name, prefix in bitmasks.items()]
    entries += [_plain(files, name) for name in plain_tensors(files)]
    return WeightFiles(_paths(files), "compressed-tensors", entries, read, files)


# ---- sparsecore's own ----


def _matrix(files: TensorFiles) -> WeightFiles:
    """Open what `sparsecore.save` wrote: one matrix, which has the file's name."""
    metadata = files.metadata[files.path]
    matrix_format, shape, dtype = safetensors.read_metadata(metadata)
    nbytes = sum(entry.nbytes for entry in files.entries.values())
    entry = matrix_entry(files.path, matrix_format, shape, dtype, nbytes)

    def read(_: str) -> CSR | Sparse24:
        return as_weight(safetensors.read(files.path))

    return WeightFiles(_paths(files), "sparsecore", [entry], read, files)


def _checkpoint(files: TensorFiles) -> WeightFiles:
    """Open what `save_checkpoint` or `sparsecore.nn` wrote."""
    checkpoint = open_checkpoint(files)
    entries = list(_checkpoint_entries(checkpoint))
    read = checkpoint.__getitem__
    return WeightFiles(_paths(files), "sparsecore", entries, read, checkpoint)


def _checkpoint_entries(checkpoint: Checkpoint) -> Iterator[Entry]:
    files, header = checkpoint.files, checkpoint.header
    layers = {join(name, "weight"): name for name in header.layers}
    stayed_dense = {join(name, "weight") for name in header.dense}
    made: dict[str, Entry] = {}
    for name in checkpoint:
        stored = header.tied.get(name, name)
        if stored != name:
            first = made[stored]
            yield Entry(name, first.shape, first.dtype, 0, first.stored, first.use, tied_to=stored)
            continue
        if name in layers:
            made[name] = _sparse(files, layers[name], header.layers[layers[name]])
        else:
            is_linear = name in stayed_dense and len(files.entries[name].shape) == 2
            made[name] = _plain(files, name, Use("Linear", 1) if is_linear else None)
        yield made[name]


def _sparse(files: TensorFiles, name: str, layer: Layer) -> Entry:
    parts = [files.entries[tensor] for tensor in layer.tensors(name)]
    dtype = layer.dtype
    if dtype is None:
        values = parts[0]
        dtype = values.dtype_name if values.dtype is None else values.dtype.name
    nbytes = sum(part.nbytes for part in parts)
    return Entry(
        join(name, "weight"), layer.weight_shape, dtype, nbytes, layer.format, _layer_use(layer)
    )


def _layer_use(layer: Layer) -> Use | None:
    """Return the use that a header says; of a convolution it does not always know the groups."""
    if len(layer.weight_shape) == 2:
        return Use("Linear", 1)
    geometry = layer.geometry
    return None if geometry is None else Use("Conv", 1, geometry, geometry.groups)
