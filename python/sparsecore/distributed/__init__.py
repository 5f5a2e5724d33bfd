"""Matrices and selections spread over the ranks of a torch.distributed process group.

A `RowShard` is one rank's rows of a matrix; `csr_matmul` multiplies all of them and gives every
rank the whole result. `sparsecore.pruning.distributed_selection` finds one threshold over scores
that no rank holds whole. Everything runs on CPU tensors, so the group needs a backend for them
(gloo). torch is imported when a function first asks for the process group.

Every function that takes a `group` is a collective: all ranks of the group call it, in the same
order. Where one rank's arguments are refused, every rank raises. A rank that dies makes the others
raise when its connection breaks, and at the latest after the timeout of the process group
(``init_process_group(timeout=...)``, 30 minutes unless it is given).

Examples
--------
One process, which is its own group; with more, each builds the same ``A`` and calls the same.

>>> import numpy as np
>>> import torch.distributed as dist
>>> import sparsecore as sc
>>> dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
>>> A = sc.CSR.from_dense(np.array([[0.0, 2.0], [0.0, 0.0], [3.0, 4.0]]))
>>> shard = sc.distributed.shard_rows(A)
>>> shard.rows, shard.part.nnz
(range(0, 3), 3)
>>> sc.distributed.csr_matmul(shard, np.array([1.0, 10.0]))
array([20.,  0., 43.])
>>> dist.destroy_process_group()
"""

from sparsecore.distributed.row_boundaries import row_boundaries
from sparsecore.distributed.row_product import csr_matmul, csr_matmul_traffic
from sparsecore.distributed.row_shard import RowShard, shard_from_rows, shard_rows

__all__ = [
    "RowShard",
    "csr_matmul",
    "csr_matmul_traffic",
    "row_boundaries",
    "shard_from_rows",
    "shard_rows",
]
