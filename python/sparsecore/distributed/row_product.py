"""The product of a matrix whose rows lie on several ranks."""

from __future__ import annotations

import sys
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from sparsecore import interop, ops
from sparsecore.distributed.agreement import exchange
from sparsecore.distributed.row_shard import RowShard
from sparsecore.interop import VALUE_DTYPES, Values

if TYPE_CHECKING:
    import numpy.typing as npt

_DTYPES = tuple(VALUE_DTYPES)


def csr_matmul(shard: RowShard, X: Values, *, threads: int | None = None) -> Values:
    """Multiply a matrix that lies on several ranks by a dense one: ``A @ X``, on every rank.

    A collective: all ranks of the shard's group call it with the same X. Each multiplies its own
    rows by ``sparsecore.csr_matmul``, which writes them where they belong in the result; then it
    sends them to where they belong in the others' results (an all-gather of uneven blocks, without
    copies or padding).

    Parameters
    ----------
    shard : RowShard
    X : (n,) or (n, k) numpy array or torch CPU tensor
        Equal on every rank. Of the dtypes that go with A's; int8 goes with int8 only.
    threads : int, optional
        Of the local product; by default `get_num_threads()`.

    Returns
    -------
    (m,) or (m, k) array or tensor, as X
        Row-major, of X's dtype; int32 for int8 by int8. No row's sum is split, but which kernel
        adds it up depends on the part's pattern: the last bits may be others than those of the
        whole matrix's product. They are the same on every rank.

    Raises
    ------
    TypeError, ValueError, OverflowError, RuntimeError
        What ``sparsecore.csr_matmul`` raises, on every rank, before data are exchanged; ValueError
        where the ranks' X differ in shape or dtype; RuntimeError where a gradient is asked for, as
        a product over ranks records none. (An OverflowError is a RuntimeError on other ranks.)

    Notes
    -----
    Ranks agree by one all-gather of 32 bytes. That X has the same values everywhere is not checked.
    A rank that dies makes the others raise RuntimeError when its connection breaks, at the latest
    after the timeout of the process group.

    Examples
    --------
    >>> import numpy as np
    >>> import torch.distributed as dist
    >>> import sparsecore as sc
    >>> dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    >>> shard = sc.distributed.shard_rows(sc.CSR.from_dense(np.diag([1.0, 2.0])))
    >>> sc.distributed.csr_matmul(shard, np.array([3.0, 4.0]))
    array([3., 8.])
    >>> dist.destroy_process_group()
    """
    if not isinstance(shard, RowShard):
        msg = f"csr_matmul: shard is a {type(shard).__name__}, expected a RowShard"
        raise TypeError(msg)

    def multiply() -> tuple[Values, list[int]]:
        Y = _empty_result(shard, X)
        ops.csr_matmul(shard.part, X, out=Y[shard.rows.start : shard.rows.stop], threads=threads)
        columns = X.shape[1] if X.ndim == 2 else -1
        return Y, [_DTYPES.index(interop.numpy_dtype(X.dtype).name), X.ndim, columns]

    Y, facts = exchange("csr_matmul", multiply, facts=3, group=shard.group)
    _check_one_operand(facts, shard.shape[1])
    _gather_blocks(shard, Y)
    return Y


def csr_matmul_traffic(shard: RowShard, *, columns: int = 1, itemsize: int = 4) -> int:
    """Return the bytes of the result that this rank receives in one `csr_matmul`.

    Parameters
    ----------
    shard : RowShard
    columns : int
        Of X.
    itemsize : int
        Bytes of an entry of the result.

    Returns
    -------
    int
        ``(m - own rows) * columns * itemsize``. The group's size times 32 bytes of the agreement
        are not in it.

    Examples
    --------
    >>> import numpy as np
    >>> import sparsecore as sc
    >>> part = sc.CSR.from_dense(np.eye(2, 5, dtype=np.float32))
    >>> shard = sc.distributed.RowShard(part, boundaries=(0, 2, 10), rank=0, shape=(10, 5))
    >>> csr_matmul_traffic(shard, columns=3)
    96
    """
    return (shard.shape[0] - len(shard.rows)) * columns * itemsize


def _empty_result(shard: RowShard, X: Values) -> Values:
    """Return memory for ``A @ X``, of X's kind.

    Raises
    ------
    TypeError
        X is neither an array nor a tensor on the CPU, or of another dtype or number of axes.
    RuntimeError
        A gradient would be recorded.
    """
    array = interop.to_numpy(X, name="csr_matmul: X")
    if array.dtype not in VALUE_DTYPES.values() or array.ndim not in (1, 2):
        msg = (
            f"csr_matmul: X is {array.dtype} of shape {array.shape}, expected a vector or a matrix "
            f"of {', '.join(_DTYPES)}"
        )
        raise TypeError(msg)
    torch = sys.modules["torch"]
    tracked = any(interop.is_tensor(x) and x.requires_grad for x in (X, shard.part.data))
    if tracked and torch.is_grad_enabled():
        msg = "csr_matmul: a product over ranks records no gradient; use torch.no_grad() or detach"
        raise RuntimeError(msg)
    dtype = np.dtype(np.int32) if array.dtype == np.int8 else array.dtype
    return interop.from_numpy(np.empty((shard.shape[0], *array.shape[1:]), dtype), like=X)


def _check_one_operand(facts: npt.NDArray[np.int64], rows: int) -> None:
    first = _operand(facts[0], rows)
    for rank, row in enumerate(facts):
        if _operand(row, rows) != first:
            found = _operand(row, rows)
            msg = f"csr_matmul: X is {first} on rank 0, {found} on rank {rank}; expected the same"
            raise ValueError(msg)


def _operand(facts: npt.NDArray[np.int64], rows: int) -> str:
    code, axes, columns = facts.tolist()
    return f"{_DTYPES[code]} of shape {(rows, columns)[:axes]}"


def _gather_blocks(shard: RowShard, Y: Values) -> None:
    """Fill in the rows of Y that other ranks hold.

    Each rank sends its block to every other one, straight from its place in Y into theirs. (The
    all-gather of gloo takes equal blocks only; broadcasts would pass each block along a tree.)
    """
    import torch.distributed as dist

    result: Any = Y if interop.is_tensor(Y) else interop.as_tensor(Y)
    blocks = [result[a:b] for a, b in pairwise(shard.boundaries)]
    mine = blocks[shard.rank]
    transfers = []
    for rank, block in enumerate(blocks):
        if rank == shard.rank:
            continue
        peer = rank if shard.group is None else dist.get_global_rank(shard.group, rank)
        if mine.numel():
            transfers.append(dist.P2POp(dist.isend, mine, peer, shard.group))
        if block.numel():
            transfers.append(dist.P2POp(dist.irecv, block, peer, shard.group))
    for work in dist.batch_isend_irecv(transfers) if transfers else ():
        work.wait()
