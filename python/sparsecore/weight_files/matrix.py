"""Files of one matrix, as files of one weight."""

from pathlib import Path

from sparsecore.files.parts import Parts, put_together
from sparsecore.formats import COO, CSR, Sparse24
from sparsecore.weight_files.entry import Entry

__all__ = ["as_weight", "matrix_entry"]

_STORED = {"sparse24": "2:4"}


def matrix_entry(
    path: Path, matrix_format: str, shape: tuple[int, int], dtype: str, nbytes: int
) -> Entry:
    """Return the entry of a file's one matrix, which has the file's name."""
    stored = _STORED.get(matrix_format, matrix_format)
    return Entry(path.stem, shape, dtype, nbytes, stored)


def as_weight(parts: Parts, *, sum_duplicates: bool = False) -> CSR | Sparse24:
    """Validate a file's parts and return its matrix; COO becomes CSR."""
    matrix = put_together(parts, framework="numpy", sum_duplicates=sum_duplicates)
    if isinstance(matrix, COO):
        return matrix.tocsr(duplicates="sum" if sum_duplicates else "error")
    return matrix
