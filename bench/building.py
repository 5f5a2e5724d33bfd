"""The build comparison: triplets to CSR, dense to CSR, dense to 2:4."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse

import sparsecore as sc
from comparison import ROUNDOFF, Case, Comparison, Contender, worst_excess
from products import torch_or_none

__all__ = ["BuildSizes", "build"]

FORMULA = "bytes of the input and of sparsecore's result, each counted once, / t"
ENTRIES_PER_ROW = 8
DUPLICATES = 0.05  # of the triplets, coordinates that another one has


@dataclass(frozen=True, slots=True)
class BuildSizes:
    """Numbers of triplets; side and sparsities in percent of the dense matrices."""

    triplets: Sequence[int]
    side: int
    sparsities: Sequence[float]
    seed: int = 0


def build(sizes: BuildSizes) -> Comparison:
    """Make CSR and 2:4 matrices in float32. The baseline is a copy of the input."""

    def cases() -> Iterator[Case]:
        for count in sizes.triplets:
            yield _triplets_case(count, np.random.default_rng([sizes.seed, count]))
        rng = np.random.default_rng(sizes.seed)
        for sparsity in sizes.sparsities:
            W = rng.standard_normal((sizes.side, sizes.side), np.float32)
            W[rng.random(W.shape, np.float32) < sparsity / 100] = 0
            yield _dense_case(W, sparsity)
        yield _compress_case(rng.standard_normal((sizes.side, sizes.side), np.float32))

    return Comparison("build", "building CSR and 2:4, float32", "GB/s", FORMULA, cases())


# ---- triplets to CSR: sorted, duplicates summed ----


def _triplets_case(count: int, rng: np.random.Generator) -> Case:
    side = max(count // ENTRIES_PER_ROW, 1)
    row, col = rng.integers(0, side, (2, count))
    again = rng.integers(0, count, round(DUPLICATES * count))
    row[: len(again)], col[: len(again)] = row[again], col[again]
    data = rng.standard_normal(count, np.float32)
    shape = (side, side)
    coo, scipy_coo = (
        sc.COO((data, (row, col)), shape),
        scipy.sparse.coo_array((data, (row, col)), shape),
    )
    contenders = {
        "sparsecore": Contender(lambda: _parts(sc.COO((data, (row, col)), shape).tocsr())),
        "sparsecore tocsr alone": Contender(lambda: _parts(coo.tocsr())),
        "scipy": Contender(
            lambda: _parts(scipy.sparse.coo_array((data, (row, col)), shape).tocsr())
        ),
        "scipy tocsr alone": Contender(lambda: _parts(scipy_coo.tocsr())),
        "numpy copy": Contender(lambda: (row.copy(), col.copy(), data.copy()), dense=True),
    }
    torch = torch_or_none()
    if torch is not None:
        position, values = torch.from_numpy(np.stack([row, col])), torch.from_numpy(data)

        def to_torch() -> Any:
            coo = torch.sparse_coo_tensor(position, values, shape, check_invariants=False)
            return _torch_parts(coo.coalesce().to_sparse_csr())

        contenders["torch"] = Contender(to_torch)
    size = row.nbytes + col.nbytes + data.nbytes + coo.tocsr().nbytes
    labels: dict[str, str | float] = {"build": "triplets to CSR", "size": count}
    return Case(labels, float(size), contenders, _summed_excess(row, col, data, side))


def _summed_excess(row: Any, col: Any, data: Any, side: int) -> Callable[[Contender, Any], float]:
    """Check against a sort by row * side + col and float64 sums of each run of equal keys."""
    key = row * side + col
    order = np.argsort(key, kind="stable")
    distinct, starts, repeats = np.unique(key[order], return_index=True, return_counts=True)
    values = data[order].astype(np.float64)
    sums, magnitude = np.add.reduceat(values, starts), np.add.reduceat(np.abs(values), starts)
    indptr = np.searchsorted(distinct, np.arange(side + 1) * side)
    bound = repeats * ROUNDOFF["float32"] * magnitude

    def excess(contender: Contender, parts: Any) -> float:
        if contender.dense:
            same = zip(parts, (row, col, data), strict=True)
            return 0.0 if all(np.array_equal(a, b) for a, b in same) else np.inf
        got_indptr, got_indices, got_data = parts
        if not (
            np.array_equal(got_indptr, indptr) and np.array_equal(got_indices, distinct % side)
        ):
            return np.inf
        return worst_excess(got_data - sums, bound)

    return excess


def _parts(A: Any) -> Any:
    return A.indptr, A.indices, A.data


def _torch_parts(A: Any) -> Any:
    return A.crow_indices().numpy(), A.col_indices().numpy(), A.values().numpy()


# ---- dense to CSR ----


def _dense_case(W: Any, sparsity: float) -> Case:
    out = np.empty_like(W)

    def copy() -> Any:
        np.copyto(out, W)
        return out

    contenders = {
        "sparsecore": Contender(lambda: _parts(sc.CSR.from_dense(W))),
        "scipy": Contender(lambda: _parts(scipy.sparse.csr_array(W))),
        "numpy copy": Contender(copy, dense=True),
    }
    torch = torch_or_none()
    if torch is not None:
        T = torch.from_numpy(W)
        contenders["torch"] = Contender(lambda: _torch_parts(T.to_sparse_csr()))

    indptr = np.concatenate([[0], np.cumsum(np.count_nonzero(W, axis=1))])
    place = np.nonzero(W)

    def excess(contender: Contender, result: Any) -> float:
        if contender.dense:
            return 0.0 if np.array_equal(result, W) else np.inf
        expected = (indptr, place[1], W[place])
        same = zip(result, expected, strict=True)
        return 0.0 if all(np.array_equal(a, b) for a, b in same) else np.inf

    size = W.nbytes + sc.CSR.from_dense(W).nbytes
    labels = {"build": "dense to CSR", "size": W.size, "sparsity": sparsity}
    return Case(labels, float(size), contenders, excess)


# ---- dense to 2:4: pruned and compressed ----


def _compress_case(W: Any) -> Case:
    out = np.empty_like(W)

    def ours() -> Any:
        S = sc.Sparse24.from_dense(W, prune=True)
        return S.values, S.metadata

    def copy() -> Any:
        np.copyto(out, W)
        return out

    contenders = {
        "sparsecore": Contender(ours),
        "numpy": Contender(lambda: _compressed_by_numpy(W)),
        "numpy copy": Contender(copy, dense=True),
    }
    torch = torch_or_none()
    if torch is not None:
        T = torch.from_numpy(W)
        contenders["torch"] = Contender(lambda: _compressed_by_torch(torch, T))

    def excess(contender: Contender, result: Any) -> float:
        if contender.dense:
            return 0.0 if np.array_equal(result, W) else np.inf
        return 0.0 if _holds_two_largest(W, *result) else np.inf

    size = W.nbytes + sc.Sparse24.from_dense(W, prune=True).nbytes
    return Case({"build": "dense to 2:4", "size": W.size}, float(size), contenders, excess)


def _compressed_by_numpy(W: Any) -> Any:
    groups = W.reshape(-1, 4)
    place = np.argsort(-np.abs(groups), axis=1, kind="stable")[:, :2]
    place.sort(axis=1)
    nibble = (place[:, 0] | place[:, 1] << 2).astype(np.uint8)
    return np.take_along_axis(groups, place, axis=1), nibble[::2] | nibble[1::2] << 4


def _compressed_by_torch(torch: Any, W: Any) -> Any:
    groups = W.reshape(-1, 4)
    place = groups.abs().topk(2, dim=1).indices.sort(dim=1).values
    nibble = (place[:, 0] | place[:, 1] << 2).to(torch.uint8)
    return groups.gather(1, place).numpy(), (nibble[::2] | nibble[1::2] << 4).numpy()


def _holds_two_largest(W: Any, values: Any, metadata: Any) -> bool:
    """Whether values stand where the metadata says and none left out is larger; ties are free."""
    nibble = np.stack([metadata.reshape(-1) & 15, metadata.reshape(-1) >> 4], axis=1).reshape(-1)
    place = np.stack([nibble & 3, nibble >> 2], axis=1)
    groups, kept = W.reshape(-1, 4), values.reshape(-1, 2)
    largest = np.sort(np.abs(groups), axis=1)[:, 2:]
    return bool(
        np.all(place[:, 0] < place[:, 1])
        and np.array_equal(np.take_along_axis(groups, place.astype(np.intp), axis=1), kept)
        and np.array_equal(np.sort(np.abs(kept), axis=1), largest)
    )
