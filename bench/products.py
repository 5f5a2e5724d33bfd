"""The product comparisons: spmm, sparse24, transpose and dtypes."""

import importlib.util
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import ml_dtypes
import numpy as np
import scipy.sparse

import sparsecore as sc
from comparison import Case, Comparison, Contender, product_excess

__all__ = ["Sizes", "dtypes", "sparse24", "spmm", "threads", "torch_or_none", "transpose"]

FORMULA = "useful operations, 2 * nnz * N / t, for every contender; a dense one does 2 * M * K * N"
# numpy's name for each value dtype, the dtype sums are kept in, and the one that scipy can take.
DTYPES = {
    "float64": (np.dtype(np.float64), "float64", "float64"),
    "float32": (np.dtype(np.float32), "float32", "float32"),
    "float16": (np.dtype(np.float16), "float32", "float32"),
    "bfloat16": (np.dtype(ml_dtypes.bfloat16), "float32", "float32"),
    "int8": (np.dtype(np.int8), "int32", "int32"),
}


@dataclass(frozen=True, slots=True)
class Sizes:
    """What is multiplied: an (m, k) matrix of each sparsity, in percent, by each width of X."""

    shape: tuple[int, int]
    sparsities: Sequence[float]
    columns: Sequence[int]
    seed: int = 0


@cache
def torch_or_none() -> Any:
    """Return torch, or None where it is not installed: then the rows do without it."""
    if importlib.util.find_spec("torch") is None:
        return None
    torch = importlib.import_module("torch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        torch.eye(1).to_sparse_csr()  # says, once a process, that CSR tensors are in beta
    return torch


def spmm(sizes: Sizes) -> Comparison:
    """Compare ``A @ X`` in float32."""
    cases = (_case(W, X, "float32", labels) for W, X, labels in _operands(sizes, "float32"))
    return Comparison("spmm", "csr_matmul, float32", "GFLOP/s", FORMULA, cases)


def dtypes(sizes: Sizes) -> Comparison:
    """Compare other dtypes; a peer that lacks one gets the operands widened beforehand."""
    cases = (
        _case(W, X, dtype, {"dtype": dtype, **labels})
        for dtype in ("float64", "float16", "bfloat16", "int8")
        for W, X, labels in _operands(sizes, dtype)
    )
    return Comparison("dtypes", "csr_matmul by dtype", "GFLOP/s", FORMULA, cases)


def sparse24(sizes: Sizes) -> Comparison:
    """Compare ``S @ X`` in float32, also with our own CSR of the same 2:4 matrix."""

    def cases() -> Iterator[Case]:
        for W, X, labels in _operands(sizes, "float32"):
            pruned = np.where(sc.prune_24(W), W, np.float32(0))
            labels["sparsity"] = 100 * float(np.mean(pruned == 0))
            yield _case(pruned, X, "float32", labels, ours=_ours_24(pruned, X))

    return Comparison("sparse24", "sparse24_matmul, float32", "GFLOP/s", FORMULA, cases())


def transpose(sizes: Sizes) -> Comparison:
    """Compare ``A.T @ X`` in float32, from the A that is stored."""

    def cases() -> Iterator[Case]:
        for W, X, labels in _operands(sizes, "float32", transposed=True):
            contenders = _transposed_contenders(W, X)
            yield _finished(W.T, X, labels, contenders)

    return Comparison("transpose", "csr_matmul(A.T, X), float32", "GFLOP/s", FORMULA, cases())


def threads(sizes: Sizes) -> Comparison:
    """Compare ``A @ X`` on all threads and on one, for square matrices up to the shape's rows."""

    def cases() -> Iterator[Case]:
        for side in (sizes.shape[0] // 8, sizes.shape[0] // 4, sizes.shape[0] // 2, sizes.shape[0]):
            for W, X, labels in _operands(replace(sizes, shape=(side, side)), "float32"):
                A = sc.CSR.from_dense(W)
                contenders = {
                    "sparsecore": Contender(lambda A=A, X=X: sc.csr_matmul(A, X)),
                    "sparsecore 1 thread": Contender(
                        lambda A=A, X=X: sc.csr_matmul(A, X, threads=1)
                    ),
                    **_scipy(W, X, "float32"),
                    **_dense(W, X, "float32"),
                }
                yield _finished(W, X, labels, contenders)

    return Comparison("threads", "csr_matmul on threads, float32", "GFLOP/s", FORMULA, cases())


def _operands(
    sizes: Sizes, dtype: str, *, transposed: bool = False
) -> Iterator[tuple[Any, Any, dict[str, float]]]:
    """Yield W, X and labels; a width of 1 is a vector, which every library does fastest."""
    m, k = sizes.shape
    for sparsity in sizes.sparsities:
        W = _random(sizes.shape, dtype, np.random.default_rng([sizes.seed, 0]))
        kept = round((1 - sparsity / 100) * W.size)
        place = np.random.default_rng([sizes.seed, 1]).permutation(W.size)
        W.reshape(-1)[place[kept:]] = 0
        for n in sizes.columns:
            length = m if transposed else k
            shape = (length,) if n == 1 else (length, n)
            X = _random(shape, dtype, np.random.default_rng([sizes.seed, 2]))
            yield W, X, {"sparsity": sparsity, "N": n}


def _random(shape: tuple[int, ...], dtype: str, rng: np.random.Generator) -> Any:
    """Values without zeros, which would change the number of nonzeros."""
    if dtype == "int8":
        return rng.choice([-1, 1], shape).astype(np.int8) * rng.integers(1, 128, shape, np.int8)
    values = rng.uniform(0.25, 1, shape) * rng.choice([-1, 1], shape)
    return values.astype(DTYPES[dtype][0])


def _case(
    W: Any,
    X: Any,
    dtype: str,
    labels: dict[str, Any],
    *,
    ours: dict[str, Contender] | None = None,
) -> Case:
    contenders = {
        **(ours or _ours(W, X, dtype)),
        **_scipy(W, X, dtype),
        **_torch_csr(W, X, dtype),
        **_dense(W, X, dtype),
    }
    return _finished(W, X, labels, contenders)


def _finished(W: Any, X: Any, labels: dict[str, Any], contenders: dict[str, Contender]) -> Case:
    n = 1 if X.ndim == 1 else X.shape[1]
    nnz = int(np.count_nonzero(W))
    shown = {"M": W.shape[0], "K": W.shape[1], "nnz": nnz, **labels}
    return Case(shown, 2.0 * nnz * n, contenders, product_excess(W, X))


def _ours(W: Any, X: Any, dtype: str) -> dict[str, Contender]:
    A = sc.CSR.from_dense(W)
    plan = A.prepare(n=1 if X.ndim == 1 else X.shape[1])
    sums = DTYPES[dtype][1]
    return {
        "sparsecore": Contender(lambda: sc.csr_matmul(A, X), sums),
        "sparsecore plan": Contender(lambda: sc.csr_matmul(plan, X), sums),
    }


def _ours_24(W: Any, X: Any) -> dict[str, Contender]:
    S, A = sc.Sparse24.from_dense(W), sc.CSR.from_dense(W)
    return {
        "sparsecore": Contender(lambda: sc.sparse24_matmul(S, X)),
        "sparsecore csr": Contender(lambda: sc.csr_matmul(A, X)),
    }


def _scipy(W: Any, X: Any, dtype: str) -> dict[str, Contender]:
    wide = DTYPES[dtype][2]
    A, right = scipy.sparse.csr_array(W.astype(wide)), X.astype(wide)
    name = "scipy" if wide == dtype else f"scipy {wide}"
    return {name: Contender(lambda: A @ right, wide)}


def _torch_csr(W: Any, X: Any, dtype: str) -> dict[str, Contender]:
    torch = torch_or_none()
    if torch is None or dtype not in ("float64", "float32"):  # its product has no other dtype
        return {}
    A, right = _torch_matrix(torch, W), torch.from_numpy(X)
    return {"torch csr": Contender(lambda: A @ right, dtype)}


def _torch_matrix(torch: Any, W: Any) -> Any:
    """Return a torch.sparse_csr tensor with 32-bit indices, the ones MKL takes as they are."""
    A = torch.from_numpy(W).to_sparse_csr()
    parts = A.crow_indices().int(), A.col_indices().int(), A.values()
    return torch.sparse_csr_tensor(*parts, size=A.shape, check_invariants=False)


def _dense(W: Any, X: Any, dtype: str) -> dict[str, Contender]:
    """Dense products; numpy has fast ones in float64 and float32 only."""
    wide = "float64" if dtype == "float64" else "float32"
    left, right = W.astype(wide), X.astype(wide)
    name = "numpy dense" if wide == dtype else f"numpy dense {wide}"
    contenders = {name: Contender(lambda: left @ right, wide, dense=True)}
    torch = torch_or_none()
    if torch is None:
        return contenders
    # Rounded the same way; numpy's bfloat16 cannot be handed over as it is.
    t_left, t_right = (torch.from_numpy(v).to(getattr(torch, dtype)) for v in (left, right))
    if dtype != "int8":
        call = Contender(lambda: t_left @ t_right, dtype, dense=True)
        return {**contenders, "torch dense": call}
    columns = t_right.reshape(len(t_right), -1)  # this product, the one with int32 sums, takes 2-D
    shape = (len(W), *X.shape[1:])
    call = Contender(lambda: torch._int_mm(t_left, columns).reshape(shape), "int32", dense=True)
    return {**contenders, "torch dense": call}


def _transposed_contenders(W: Any, X: Any) -> dict[str, Contender]:
    A, S = sc.CSR.from_dense(W), scipy.sparse.csr_array(W)
    beforehand = S.T.tocsr()
    contenders = {
        "sparsecore": Contender(lambda: sc.csr_matmul(A.T, X)),
        "scipy": Contender(lambda: S.T @ X),
        "scipy transposed beforehand": Contender(lambda: beforehand @ X),
        "numpy dense": Contender(lambda: W.T @ X, dense=True),
    }
    torch = torch_or_none()
    if torch is not None:
        T, D, right = _torch_matrix(torch, W), torch.from_numpy(W), torch.from_numpy(X)
        contenders["torch csr"] = Contender(lambda: T.t() @ right)
        contenders["torch dense"] = Contender(lambda: D.t() @ right, dense=True)
    return contenders
