"""Dense matrices to CSR, and pruned to 2:4."""

from typing import Any

import numpy as np

import sparsecore as sc
from sparsecore.bench.building_triplets import parts, same_parts, torch_parts
from sparsecore.bench.comparison import Case, Contender
from sparsecore.bench.peers import Roster

__all__ = ["compress_case", "dense_case"]


def dense_case(W: Any, sparsity: float, roster: Roster) -> Case:
    """Make CSR from a dense matrix."""
    contenders = {
        "sparsecore": Contender(lambda: parts(sc.CSR.from_dense(W)), role="ours"),
        "numpy copy": _copy(W),
    }
    if "scipy" in roster.present:
        import scipy.sparse

        make: Any = scipy.sparse.csr_array
        contenders["scipy"] = Contender(lambda: parts(make(W)))
    if "torch" in roster.present:
        import torch

        T = torch.from_numpy(W)
        contenders["torch"] = Contender(lambda: torch_parts(T.to_sparse_csr()))
    indptr = np.concatenate([[0], np.cumsum(np.count_nonzero(W, axis=1))])
    expected = indptr, np.nonzero(W)[1], W[W != 0]

    def excess(contender: Contender, result: Any) -> float:
        if contender.role == "baseline":
            return 0.0 if np.array_equal(result, W) else np.inf
        return 0.0 if same_parts(result, expected) else np.inf

    size = W.nbytes + sc.CSR.from_dense(W).nbytes
    labels = {"build": "dense to CSR", "size": W.size, "sparsity": sparsity}
    return Case(labels, float(size), contenders, excess)


def compress_case(W: Any, roster: Roster) -> Case:
    """Keep two of every four, compressed. The number of columns is a multiple of 8 here."""

    def ours() -> Any:
        S = sc.Sparse24.from_dense(W, prune=True)
        return S.values, S.metadata

    contenders = {
        "sparsecore": Contender(ours, role="ours"),
        "numpy": Contender(lambda: _compressed_by_numpy(W)),
        "numpy copy": _copy(W),
    }
    if "torch" in roster.present:
        import torch

        T = torch.from_numpy(W)
        contenders["torch"] = Contender(lambda: _compressed_by_torch(torch, T))

    def excess(contender: Contender, result: Any) -> float:
        if contender.role == "baseline":
            return 0.0 if np.array_equal(result, W) else np.inf
        return 0.0 if _holds_two_largest(W, *result) else np.inf

    size = W.nbytes + sc.Sparse24.from_dense(W, prune=True).nbytes
    return Case({"build": "dense to 2:4", "size": W.size}, float(size), contenders, excess)


def _copy(W: Any) -> Contender:
    out = np.empty_like(W)

    def copy() -> Any:
        np.copyto(out, W)
        return out

    return Contender(copy, role="baseline")


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
