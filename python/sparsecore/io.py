"""Matrices in files: safetensors, scipy's npz, and the patterns of smtx. Nothing is pickled."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Literal, TypeAlias, TypeVar

from sparsecore.files import npz, safetensors, smtx
from sparsecore.files.complete import complete_or_absent
from sparsecore.files.parts import Matrix, Parts, put_together, take_apart

__all__ = ["load", "save"]

PathLike: TypeAlias = str | os.PathLike[str]
Function = TypeVar("Function")

_WRITERS: dict[str, Callable[[BinaryIO, Parts], None]] = {
    ".safetensors": safetensors.write,
    ".npz": npz.write,
}
_READERS: dict[str, Callable[[Path], Parts]] = {
    ".safetensors": safetensors.read,
    ".npz": npz.read,
    ".smtx": smtx.read,
}


def save(path: PathLike, A: Matrix) -> None:
    """Write a matrix to a file, in the format that the suffix names.

    The file appears under its name only when it is complete; a failure leaves what was there.

    Parameters
    ----------
    path : path
        ``.safetensors``: every format and dtype, indices in their stored widths. ``.npz``: CSR and
        COO of float64, float32 and int8 as scipy writes and reads them; it cannot hold float16 and
        bfloat16, which scipy does not know, nor 2:4.
    A : COO, CSR or Sparse24
        Values of numpy or torch; both give the same file.

    Raises
    ------
    ValueError
        For another suffix.
    TypeError
        Where the file format cannot hold the matrix, or `A` is none.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import sparsecore as sc
    >>> A = sc.CSR(([3.0, 7.0], [1, 3], [0, 2]), shape=(1, 4))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder) / "A.safetensors"
    ...     sc.save(path, A)
    ...     sc.load(path).equals(A)
    True
    """
    target = Path(path)
    write = _by_suffix(target, _WRITERS, verb="save")
    parts = take_apart(A)
    with complete_or_absent(target) as temporary, temporary.open("xb") as file:
        write(file, parts)


def load(path: PathLike, *, framework: Literal["numpy", "torch"] = "numpy") -> Matrix:
    """Read a matrix from a file and validate it.

    Parameters
    ----------
    path : path
        ``.safetensors`` by `save`, ``.npz`` by `save` or ``scipy.sparse.save_npz`` (csr and coo),
        or ``.smtx`` (a pattern; every value is 1 in float32).
    framework : {"numpy", "torch"}
        What holds the values.

    Returns
    -------
    COO, CSR or Sparse24

    Raises
    ------
    ValueError
        Where the file is truncated, claims more than it holds, or its content is not a valid
        matrix; names the file and what is wrong. Nothing is allocated that the file does not hold.
    OSError
        Where the file cannot be read.
    """
    source = Path(path)
    read = _by_suffix(source, _READERS, verb="load")
    if framework not in ("numpy", "torch"):
        msg = f"load: framework is {framework!r}, expected 'numpy' or 'torch'"
        raise ValueError(msg)
    try:
        # scipy may store a coordinate twice, and means the sum.
        return put_together(read(source), framework=framework, sum_duplicates=read is npz.read)
    except (ValueError, IndexError, TypeError, OverflowError) as fault:
        msg = f"{source}: {fault}"
        raise ValueError(msg) from fault


def _by_suffix(path: Path, table: dict[str, Function], *, verb: str) -> Function:
    suffix = path.suffix.lower()
    if suffix not in table:
        msg = f"{verb}: {str(path)!r} ends in {path.suffix!r}, expected {' or '.join(table)}"
        raise ValueError(msg)
    return table[suffix]
