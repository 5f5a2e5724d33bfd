"""Triplets to CSR: sorted, duplicates summed."""

from collections.abc import Callable
from typing import Any

import numpy as np

import sparsecore as sc
from sparsecore.bench.comparison import ROUNDOFF, Case, Contender, worst_excess
from sparsecore.bench.peers import Roster

__all__ = ["parts", "same_parts", "torch_parts", "triplets_case"]

ENTRIES_PER_ROW = 8
DUPLICATES = 0.05  # of the triplets, coordinates that another one has


def triplets_case(count: int, rng: np.random.Generator, roster: Roster) -> Case:
    """Make CSR from triplets in any order; also from a COO that holds them checked already."""
    side = max(count // ENTRIES_PER_ROW, 1)
    row, col = rng.integers(0, side, (2, count))
    again = rng.integers(0, count, round(DUPLICATES * count))
    row[: len(again)], col[: len(again)] = row[again], col[again]
    data, shape = rng.standard_normal(count, np.float32), (side, side)
    coo = sc.COO((data, (row, col)), shape)
    contenders = {
        "sparsecore": Contender(
            lambda: parts(sc.COO((data, (row, col)), shape).tocsr()), role="ours"
        ),
        "sparsecore tocsr alone": Contender(lambda: parts(coo.tocsr()), role="ours"),
        "numpy copy": Contender(lambda: (row.copy(), col.copy(), data.copy()), role="baseline"),
    }
    if "scipy" in roster.present:
        contenders |= _by_scipy(row, col, data, side)
    if "torch" in roster.present:
        contenders["torch"] = _by_torch(row, col, data, side)
    size = row.nbytes + col.nbytes + data.nbytes + coo.tocsr().nbytes
    labels: dict[str, str | float] = {"build": "triplets to CSR", "size": count}
    return Case(labels, float(size), contenders, _summed_excess(row, col, data, side))


def _by_scipy(row: Any, col: Any, data: Any, side: int) -> dict[str, Contender]:
    import scipy.sparse

    make: Any = scipy.sparse.coo_array
    shape = (side, side)
    coo = make((data, (row, col)), shape)
    return {
        "scipy": Contender(lambda: parts(make((data, (row, col)), shape).tocsr())),
        "scipy tocsr alone": Contender(lambda: parts(coo.tocsr())),
    }


def _by_torch(row: Any, col: Any, data: Any, side: int) -> Contender:
    import torch

    position, values = torch.from_numpy(np.stack([row, col])), torch.from_numpy(data)

    def to_csr() -> Any:
        coo = torch.sparse_coo_tensor(position, values, (side, side), check_invariants=False)
        return torch_parts(coo.coalesce().to_sparse_csr())

    return Contender(to_csr)


def _summed_excess(row: Any, col: Any, data: Any, side: int) -> Callable[[Contender, Any], float]:
    """Check against a sort by row * side + col and float64 sums of each run of equal keys."""
    key = row * side + col
    order = np.argsort(key, kind="stable")
    distinct, starts, repeats = np.unique(key[order], return_index=True, return_counts=True)
    values = data[order].astype(np.float64)
    sums, magnitude = np.add.reduceat(values, starts), np.add.reduceat(np.abs(values), starts)
    indptr = np.searchsorted(distinct, np.arange(side + 1) * side)
    bound = repeats * ROUNDOFF["float32"] * magnitude

    def excess(contender: Contender, result: Any) -> float:
        if contender.role == "baseline":
            return 0.0 if same_parts(result, (row, col, data)) else np.inf
        if not same_parts(result[:2], (indptr, distinct % side)):
            return np.inf
        return worst_excess(result[2] - sums, bound)

    return excess


def parts(A: Any) -> Any:
    """Return the arrays of a CSR, sparsecore's or scipy's."""
    return A.indptr, A.indices, A.data


def torch_parts(A: Any) -> Any:
    """Return the arrays of torch's."""
    return A.crow_indices().numpy(), A.col_indices().numpy(), A.values().numpy()


def same_parts(found: Any, expected: Any) -> bool:
    """Whether arrays are equal, one by one."""
    return all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))
