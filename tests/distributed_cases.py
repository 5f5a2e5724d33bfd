"""What ranks run in the tests of `sparsecore.distributed`. They never load pytest."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import torch
import torch.distributed as dist

import sparsecore as sc
from sparsecore.distributed import csr_matmul, shard_from_rows, shard_rows
from sparsecore.pruning.distributed_selection import global_counts, global_masks


def matrix(m: int = 37, n: int = 20, seed: int = 0) -> np.ndarray:
    """Return an (m, n) float64 matrix of small integers: empty rows, one full, 10 % of the rest."""
    rng = np.random.default_rng(seed)
    W = np.where(rng.random((m, n)) < 0.1, rng.integers(-4, 5, (m, n)), 0).astype(np.float64)
    W[3:8] = 0
    W[5] = np.arange(1, n + 1) % 7 + 1
    return W


def operand(n: int, columns: int | None) -> np.ndarray:
    """Return X of small integers, float64: every product with `matrix` is exact in bfloat16."""
    shape = (n,) if columns is None else (n, columns)
    return np.random.default_rng(1).integers(-1, 2, shape).astype(np.float64)


def product(
    _rank: int, group: Any, matrix: Any, by: str, dtype: str, columns: int | None, kind: str
) -> Any:
    """Return rows, entries, dtype and result of a product over ranks, as plain objects."""
    W, X = torch.from_numpy(matrix), torch.from_numpy(operand(20, columns))
    W, X = (t.to(getattr(torch, dtype)) for t in (W, X))
    if kind == "numpy":
        W, X = (sc.interop.to_numpy(t, name="t") for t in (W, X))
    shard = shard_rows(sc.CSR.from_dense(W), by=by, group=group)
    Y = csr_matmul(shard, X)
    assert type(Y) is type(X)
    result = sc.interop.to_numpy(Y, name="Y")
    return shard.rows, shard.part.nnz, result.dtype.name, result.astype(np.float64)


def own_rows(rank: int, group: Any, starts: list[int], lengths: list[int], m: int) -> Any:
    """Build a shard from the rank's own rows only, and return its product with ones."""
    W = matrix(m)[starts[rank] : starts[rank] + lengths[rank]]
    part = sc.CSR.from_dense(W)
    shard = shard_from_rows(part, start=starts[rank], shape=(m, 20), group=group)
    return csr_matmul(shard, np.ones(20))


def different_operands(rank: int, group: Any, bad: int, X: Any) -> Any:
    """Multiply, one rank by another X than the others."""
    shard = shard_rows(sc.CSR.from_dense(matrix()), group=group)
    return csr_matmul(shard, X if rank == bad else np.ones(20))


def different_matrices(rank: int, group: Any, other: np.ndarray) -> Any:
    """Shard, the last rank another matrix than the others."""
    is_last = rank == dist.get_world_size(group) - 1
    W = other if is_last else matrix()
    A = sc.CSR.from_dense(W) if W.dtype.kind == "f" else W
    return shard_rows(A, group=group)


def masks(rank: int, group: Any, blocks: list[dict[str, Any]], kept: int) -> Any:
    """Return the rank's masks as arrays."""
    found = global_masks(blocks[rank], kept, group=group)
    return {name: np.asarray(mask) for name, mask in found.items()}


def counts(rank: int, group: Any, blocks: list[dict[str, Any]], sparsity: list[float]) -> Any:
    """Return the counts of the layers."""
    return global_counts(blocks[rank], sparsity[rank], group=group)


def exchanged(rank: int, group: Any, blocks: list[dict[str, Any]], kept: int) -> Any:
    """Return how many calls and bytes of each collective a selection makes."""
    seen: dict[str, list[int]] = {"all_reduce": [], "all_gather": []}
    real = {name: getattr(dist, name) for name in seen}

    def counted(name: str, *arguments: Any, **keywords: Any) -> Any:
        tensor = arguments[-1]
        seen[name].append(tensor.numel() * tensor.element_size())
        return real[name](*arguments, **keywords)

    for name in seen:
        setattr(dist, name, lambda *a, _name=name, **k: counted(_name, *a, **k))
    try:
        global_masks(blocks[rank], kept, group=group)
    finally:
        for name, function in real.items():
            setattr(dist, name, function)
    return seen


def product_then_exit(rank: int, group: Any, dying: int) -> Any:
    """Multiply after one rank has gone."""
    shard = shard_rows(sc.CSR.from_dense(matrix()), group=group)
    if rank == dying:
        os._exit(3)
    return csr_matmul(shard, np.ones(20))
