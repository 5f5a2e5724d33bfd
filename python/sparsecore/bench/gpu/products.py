"""Products on the device: ours, cuSPARSE by each algorithm, Sputnik, torch's, CuPy's; cuBLAS."""

import importlib.util
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
import torch.utils.dlpack

import sparsecore as sc
from sparsecore.bench.arguments import Options
from sparsecore.bench.comparison import Absent, Case, Comparison, Contender, Offers
from sparsecore.bench.gpu import cusparse, sputnik
from sparsecore.bench.gpu.checks import product_excess
from sparsecore.bench.gpu.clock import captured
from sparsecore.bench.operands import Matrix, kind_of, matrices, product
from sparsecore.cuda.row_work import MOST_COLUMNS
from sparsecore.interop import as_tensor

__all__ = ["products"]

_FORMULA = "useful operations, 2 * nnz * N / t, for every contender; a dense one does 2 * M * K * N"
# Up to here a call is short beside its launch, and graphs are measured, too.
_FEW_COLUMNS = 32


def products(options: Options, device: torch.device) -> Comparison:
    """Compare ``A @ X``; X is row-major, as cuSPARSE has its fast algorithms for."""

    def cases() -> Iterator[Case]:
        for dtype in options.dtypes:
            for A in matrices(options, dtype):
                shown = A.labelled(dtype=dtype)
                for n in options.columns:
                    yield _case(shown, n, options, device, dtype)

    title = f"csr_matmul on a device, {', '.join(options.dtypes)}"
    return Comparison("gpu products", title, "GFLOP/s", _FORMULA, cases())


def _case(A: Matrix, n: int, options: Options, device: torch.device, dtype: str) -> Case:
    X = as_tensor(product(A, n, options, kind_of(dtype)).X, device=device).reshape(-1, n)
    W = as_tensor(A.dense, device=device)
    arrays = tuple(as_tensor(a, device=device) for a in (A.data, A.indices, A.indptr))
    offers = {**_ours(arrays, A.shape, X), **_peers(arrays, A.shape, X), **_dense(W, X)}
    found = {name: offer for name, offer in offers.items() if isinstance(offer, Contender)}
    absent = {name: str(offer) for name, offer in offers.items() if isinstance(offer, Absent)}
    work = 2.0 * len(A.data) * n
    return Case({**A.labels, "N": n}, work, found, product_excess(W, X), absent)


def _ours(arrays: tuple[Any, ...], shape: tuple[int, int], X: Any) -> Offers:
    data, indices, indptr = arrays
    A = sc.CSR((data, indices, indptr), shape)
    plan = A.prepare(n=X.shape[1])
    offers: Offers = {
        "sparsecore": Contender(partial(sc.csr_matmul, A, X), role="ours"),
        "sparsecore plan": Contender(
            partial(sc.csr_matmul, plan, X), role="ours", packing="beforehand"
        ),
    }
    # What plans choose from by arithmetic, for whoever measures whether they do right.
    for kernel in ("rows", "merge") if X.shape[1] <= MOST_COLUMNS else ():
        by_kernel = partial(sc.csr_matmul, A.prepare(kernel=kernel), X)
        offers[f"sparsecore {kernel}"] = Contender(by_kernel, role="ours", packing="beforehand")
    return offers | _with_graph("sparsecore plan", offers, X)


def _with_graph(name: str, offers: Offers, X: Any) -> Offers:
    offer = offers[name]
    if X.shape[1] > _FEW_COLUMNS or isinstance(offer, Absent) or not X.is_cuda:
        return {}
    try:
        replay = captured(offer.call)
    except RuntimeError as reason:
        return {f"{name}, graph": _refused(reason)}
    return {f"{name}, graph": Contender(replay, offer.sums, offer.role, "beforehand")}


def _peers(arrays: tuple[Any, ...], shape: tuple[int, int], X: Any) -> Offers:
    data, indices, indptr = arrays
    csr = torch.sparse_csr_tensor(indptr, indices, data, shape, check_invariants=False)
    offers: Offers = {"torch csr": _tried(partial(torch.matmul, csr, X))}
    for algorithm in cusparse.ALGORITHMS:
        made = partial(cusparse.multiplier, (data, indices, indptr), shape, X, algorithm)
        offers[f"cusparse {algorithm}"] = _prepared(made)
    offers["sputnik"] = _prepared(partial(sputnik.multiplier, (data, indices, indptr), shape, X))
    return offers | _cupy(arrays, shape, X)


def _prepared(make: Callable[[], Callable[[], Any]]) -> Contender | Absent:
    try:
        return Contender(make(), packing="beforehand")
    except Absent as reason:
        return reason


def _tried(call: Callable[[], Any]) -> Contender | Absent:
    """Return a call of torch's as a contender, if it can do what is asked."""
    try:
        call()
    except RuntimeError as reason:  # which NotImplementedError is, too
        return _refused(reason)
    return Contender(call)


def _refused(reason: Exception) -> Absent:
    return Absent(str(reason).partition("\n")[0])


def _cupy(arrays: tuple[Any, ...], shape: tuple[int, int], X: Any) -> Offers:
    if importlib.util.find_spec("cupy") is None:
        return {"cupy": Absent("not installed")}
    if X.dtype != torch.float32:
        return {"cupy": Absent(f"has no sparse matrices of {X.dtype}")}
    try:
        import cupy
        import cupyx.scipy.sparse

        parts = tuple(cupy.from_dlpack(array) for array in arrays)
        A, right = cupyx.scipy.sparse.csr_matrix(parts, shape), cupy.from_dlpack(X)
    except Exception as reason:  # one for other versions of CUDA fails in ways of its own
        return {"cupy": _refused(reason)}
    return {"cupy": Contender(lambda: torch.utils.dlpack.from_dlpack(A @ right))}


def _dense(W: Any, X: Any) -> Offers:
    offers: Offers = {"cublas dense": Contender(partial(torch.matmul, W, X), role="baseline")}
    return offers | _with_graph("cublas dense", offers, X)
