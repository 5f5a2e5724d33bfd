"""Construction and row reads on the device; the baseline is a copy of the input."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch

import sparsecore as sc
from sparsecore.bench.arguments import Options
from sparsecore.bench.comparison import Case, Comparison, Contender
from sparsecore.bench.gpu.checks import equals
from sparsecore.bench.operands import Matrix, matrices
from sparsecore.interop import as_tensor

__all__ = ["building"]

_FORMULA = "bytes of the input and of sparsecore's result, each counted once, / t"
_SIDE = 16_384  # of the matrix that triplets are of
_ROWS_READ = 4_096


def building(options: Options, device: torch.device) -> Comparison:
    """Compare triplets to CSR, dense to CSR, transposes and batches of rows."""

    def cases() -> Iterator[Case]:
        for count in options.triplets:
            yield _triplets(count, options.seed, device)
        for A in matrices(options, "float32"):
            yield _from_dense(A, device)
            yield _transpose(A, device)
            yield _rows(A, options.seed, device)

    return Comparison(
        "gpu building", "building and reading CSR on a device, float32", "GB/s", _FORMULA, cases(),
        "copy",
    )  # fmt: skip


def _copy(*tensors: Any) -> Contender:
    return Contender(lambda: [tensor.clone() for tensor in tensors], role="baseline")


def _case(
    labels: dict[str, str | float],
    moved: float,
    contenders: dict[str, Contender],
    expected: Any,
) -> Case:
    excess = equals(expected)

    def of_results(contender: Contender, result: Any) -> float:
        return 0.0 if contender.role == "baseline" else excess(contender, result)

    return Case(labels, moved, contenders, of_results)


def _triplets(count: int, seed: int, device: torch.device) -> Case:
    rng = np.random.default_rng([seed, count])
    side = min(_SIDE, max(1, count))
    row, col = (as_tensor(rng.integers(0, side, count), device=device) for _ in range(2))
    data = as_tensor(rng.integers(-8, 8, count).astype(np.float32), device=device)
    shape = (side, side)

    def ours() -> sc.CSR:
        return sc.COO((data, (row, col)), shape).tocsr()

    def torchs() -> Any:
        indices = torch.stack([row, col])
        made = torch.sparse_coo_tensor(indices, data, shape, check_invariants=False)
        return made.coalesce().to_sparse_csr()

    contenders = {
        "sparsecore": Contender(ours, role="ours"),
        "torch": Contender(torchs),
        "copy": _copy(row, col, data),
    }
    A = ours()
    moved = 20.0 * count + A.nbytes
    # Sums of small integers are exact in any order.
    expected = torch.zeros(shape, device=device).index_put((row, col), data, accumulate=True)
    return _case({"build": "triplets to CSR", "nnz": count}, moved, contenders, expected)


def _from_dense(A: Matrix, device: torch.device) -> Case:
    W = as_tensor(A.dense, device=device)
    contenders = {
        "sparsecore": Contender(partial(sc.CSR.from_dense, W), role="ours"),
        "torch": Contender(W.to_sparse_csr),
        "copy": _copy(W),
    }
    moved = float(W.nbytes + sc.CSR.from_dense(W).nbytes)
    return _case({"build": "dense to CSR", **A.labels}, moved, contenders, W)


def _arrays(A: Matrix, device: torch.device) -> tuple[Any, Any, Any]:
    data, indices, indptr = (as_tensor(a, device=device) for a in (A.data, A.indices, A.indptr))
    return data, indices, indptr


def _transpose(A: Matrix, device: torch.device) -> Case:
    """Compare the transpose of a matrix that is made of its arrays: one that is kept is kept."""
    data, indices, indptr = _arrays(A, device)

    def ours() -> sc.CSR:
        return sc.CSR((data, indices, indptr), A.shape).T.tocsr()

    def torchs() -> Any:
        made = torch.sparse_csr_tensor(indptr, indices, data, A.shape, check_invariants=True)
        return made.transpose(0, 1).to_sparse_csr()

    contenders = {
        "sparsecore": Contender(ours, role="ours"),
        "torch": Contender(torchs),
        "copy": _copy(data, indices, indptr),
    }
    expected = as_tensor(A.dense.T.copy(), device=device)
    moved = float(data.nbytes + indices.nbytes + indptr.nbytes + ours().nbytes)
    return _case({"build": "arrays to the transpose", **A.labels}, moved, contenders, expected)


def _rows(A: Matrix, seed: int, device: torch.device) -> Case:
    data, indices, indptr = _arrays(A, device)
    ours = sc.CSR((data, indices, indptr), A.shape)
    chosen = np.random.default_rng([seed, 3]).integers(0, A.shape[0], _ROWS_READ)
    ids = as_tensor(chosen, device=device)
    gather: Callable[[], sc.CSR] = partial(ours.gather_rows, ids)
    taken = gather()
    contenders = {
        "sparsecore": Contender(gather, role="ours"),
        "copy": _copy(taken.data, taken.indices.to(torch.int16)),
    }
    expected = as_tensor(A.dense[chosen], device=device)
    labels = {"build": f"{_ROWS_READ} rows", **A.labels}
    return _case(labels, 2.0 * taken.nbytes, contenders, expected)
