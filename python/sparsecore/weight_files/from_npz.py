"""Weights of npz archives: scipy's of one sparse matrix, numpy's of dense arrays."""

from pathlib import Path

from sparsecore.files import npz
from sparsecore.files.npz_members import Archive, open_archive
from sparsecore.files.parts import ARRAY_NAMES
from sparsecore.formats import CSR, Sparse24
from sparsecore.interop import Array
from sparsecore.weight_files.entry import Entry
from sparsecore.weight_files.matrix import as_weight, matrix_entry
from sparsecore.weight_files.weights import WeightFiles, naming

__all__ = ["open_npz"]


def open_npz(path: Path) -> WeightFiles:
    """Open an archive; see `open_weights`."""
    with naming(path), open_archive(path) as archive:
        is_matrix = {"format", "shape", "data"} <= set(archive.names)
        entries = [_matrix(path, archive)] if is_matrix else _arrays(archive)
    read = _read_matrix if is_matrix else _read_array
    return WeightFiles([path], "npz", entries, lambda name: read(path, name), path)


def _matrix(path: Path, archive: Archive) -> Entry:
    matrix_format, shape = npz.read_header(archive)
    names = ARRAY_NAMES[matrix_format]
    dtype = archive.header(names[0]).dtype.newbyteorder("=").name
    nbytes = sum(archive.stored_bytes(name) for name in names)
    return matrix_entry(path, matrix_format, shape, dtype, nbytes)


def _arrays(archive: Archive) -> list[Entry]:
    if not archive.names:
        msg = "holds no arrays, expected those of numpy.savez or scipy.sparse.save_npz"
        raise ValueError(msg)
    return [_array(archive, name) for name in archive.names]


def _array(archive: Archive, name: str) -> Entry:
    header = archive.header(name)
    dtype = header.dtype.newbyteorder("=").name
    return Entry(name, header.shape, dtype, archive.stored_bytes(name), "dense")


def _read_matrix(path: Path, _: str) -> CSR | Sparse24:
    # scipy may store a coordinate twice, and means the sum.
    return as_weight(npz.read(path), sum_duplicates=True)


def _read_array(path: Path, name: str) -> Array:
    with open_archive(path) as archive:
        return archive.read(name, kinds="biuf")
