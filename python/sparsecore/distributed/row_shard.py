"""One rank's rows of a matrix that all ranks hold together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from sparsecore.distributed.agreement import exchange, rank_and_size
from sparsecore.distributed.row_boundaries import By, check_by, row_boundaries
from sparsecore.formats import CSR
from sparsecore.formats.arguments import as_shape
from sparsecore.interop import VALUE_DTYPES, numpy_dtype

if TYPE_CHECKING:
    import numpy.typing as npt

_DTYPES = tuple(VALUE_DTYPES)


@dataclass(frozen=True, slots=True, eq=False)
class RowShard:
    """The rows of an (m, n) matrix that one rank of a process group holds.

    `shard_rows` and `shard_from_rows` make it, and see to it that the shards of all ranks are of
    one matrix.

    Parameters
    ----------
    part : CSR, (rows of this rank, n)
    boundaries : tuple of int, length ranks + 1
        Rank r holds the rows from boundary r up to boundary r + 1, which may be none.
    rank : int
        This process's rank in `group`.
    shape : (m, n)
        Of the whole matrix.
    group : torch.distributed.ProcessGroup or None
        None is the group of all processes.
    """

    part: CSR
    boundaries: tuple[int, ...]
    rank: int
    shape: tuple[int, int]
    group: Any = field(default=None, repr=False)

    @property
    def rows(self) -> range:
        """The rows of the whole matrix that `part` holds."""
        return range(self.boundaries[self.rank], self.boundaries[self.rank + 1])


def shard_rows(A: CSR, *, by: By = "nnz", group: Any = None) -> RowShard:
    """Take this rank's rows of a matrix that every rank has, and keep no more of it.

    A collective: all ranks of the group call it with the same matrix.

    Parameters
    ----------
    A : CSR, (m, n)
    by : {"nnz", "rows"}
        What is balanced; the exact rule is that of `row_boundaries` with a part for each rank.
    group : torch.distributed.ProcessGroup, optional
        By default all processes.

    Returns
    -------
    RowShard
        Its part is a copy, so that A can be freed.

    Raises
    ------
    RuntimeError
        Without a process group, or without a backend for CPU tensors.
    TypeError, ValueError
        On every rank: an argument of one is refused, or the ranks' matrices differ in shape, dtype,
        number of entries or boundaries.

    Examples
    --------
    As in `sparsecore.distributed`:

    >>> import numpy as np
    >>> import torch.distributed as dist
    >>> import sparsecore as sc
    >>> dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    >>> sc.distributed.shard_rows(sc.CSR.from_dense(np.eye(3)), by="rows").boundaries
    (0, 3)
    >>> dist.destroy_process_group()
    """
    rank, ranks = rank_and_size(group, caller="shard_rows")

    def take() -> tuple[RowShard, list[int]]:
        _check_csr(A, name="shard_rows: A")
        check_by(by, caller="shard_rows")
        boundaries = row_boundaries(A.indptr, ranks, by=by)
        start, stop = boundaries[rank : rank + 2]
        part = A.gather_rows(np.arange(start, stop))
        shard = RowShard(part, boundaries, rank, A.shape, group)
        return shard, [start, stop, *A.shape, _code(A), A.nnz]

    shard, facts = exchange("shard_rows", take, facts=6, group=group)
    _check_one_matrix("shard_rows", facts)
    if (facts[:, 5] != facts[0, 5]).any():
        msg = f"shard_rows: A has {facts[:, 5].tolist()} entries by rank, expected the same matrix"
        raise ValueError(msg)
    return shard


def shard_from_rows(part: CSR, *, start: int, shape: Sequence[int], group: Any = None) -> RowShard:
    """Make a shard from the rank's own rows, of a matrix that no process has whole.

    A collective: all ranks of the group call it, and their rows together must be all rows of the
    matrix, once each, in the order of the ranks.

    Parameters
    ----------
    part : CSR, (rows of this rank, n)
        Kept as it is; it may have no rows.
    start : int
        The row of the whole matrix that is the part's first.
    shape : (m, n)
        Of the whole matrix.
    group : torch.distributed.ProcessGroup, optional
        By default all processes.

    Returns
    -------
    RowShard

    Raises
    ------
    RuntimeError
        Without a process group, or without a backend for CPU tensors.
    TypeError, ValueError
        On every rank: an argument of one is refused, the shapes or dtypes differ, or the rows do
        not tile the matrix.

    Examples
    --------
    >>> import numpy as np
    >>> import torch.distributed as dist
    >>> import sparsecore as sc
    >>> dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    >>> rows = sc.CSR.from_dense(np.eye(2, 5))
    >>> sc.distributed.shard_from_rows(rows, start=0, shape=(2, 5)).rows
    range(0, 2)
    >>> dist.destroy_process_group()
    """
    rank, _ = rank_and_size(group, caller="shard_from_rows")

    def check() -> tuple[tuple[int, int], list[int]]:
        _check_csr(part, name="shard_from_rows: part")
        m, n = as_shape(shape, name="shard_from_rows")
        if part.shape[1] != n:
            msg = f"shard_from_rows: part has {part.shape[1]} columns, shape is {(m, n)}"
            raise ValueError(msg)
        if isinstance(start, bool) or not isinstance(start, int):
            msg = f"shard_from_rows: start is a {type(start).__name__}, expected an int"
            raise TypeError(msg)
        last = m - part.shape[0]
        if last < 0:
            msg = f"shard_from_rows: part has {part.shape[0]} rows, shape is {(m, n)}"
            raise ValueError(msg)
        if not 0 <= start <= last:
            msg = f"shard_from_rows: start is {start}, expected a row from 0 to {last}"
            raise ValueError(msg)
        return (m, n), [start, start + part.shape[0], m, n, _code(part)]

    whole, facts = exchange("shard_from_rows", check, facts=5, group=group)
    boundaries = _check_one_matrix("shard_from_rows", facts)
    return RowShard(part, boundaries, rank, whole, group)


def _check_csr(A: object, *, name: str) -> None:
    if not isinstance(A, CSR):
        msg = f"{name} is a {type(A).__name__}, expected a CSR"
        raise TypeError(msg)


def _code(A: CSR) -> int:
    return _DTYPES.index(numpy_dtype(A.dtype).name)


def _check_one_matrix(caller: str, facts: npt.NDArray[np.int64]) -> tuple[int, ...]:
    """Return the boundaries of shards that tile one matrix; raise ValueError for others.

    The facts of a rank: its first row, the row behind its last, m, n and the code of its dtype.
    """
    m, n, code = facts[0, 2:5].tolist()
    expected = 0
    for rank, (start, stop, rows, columns, kind) in enumerate(facts[:, :5].tolist()):
        if (rows, columns) != (m, n):
            msg = f"{caller}: rank {rank} has shape {(rows, columns)}, rank 0 {(m, n)}"
            raise ValueError(msg)
        if kind != code:
            msg = f"{caller}: rank {rank} has dtype {_DTYPES[kind]}, rank 0 {_DTYPES[code]}"
            raise ValueError(msg)
        if start != expected:
            before = f"where those of rank {rank - 1} end" if rank else "the first row"
            msg = f"{caller}: rank {rank}'s rows start at {start}, expected {expected}, {before}"
            raise ValueError(msg)
        expected = stop
    if expected != m:
        msg = f"{caller}: the last rank's rows end at {expected}, expected {m}, the number of rows"
        raise ValueError(msg)
    return (0, *facts[:, 1].tolist())
