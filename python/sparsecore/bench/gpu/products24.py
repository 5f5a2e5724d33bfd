"""2:4 on the device: products by each kernel, torch's and dense cuBLAS; pruning beside a copy."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch

import sparsecore as sc
from sparsecore.bench.arguments import Options
from sparsecore.bench.comparison import Absent, Case, Comparison, Contender, Offers
from sparsecore.bench.gpu import memory
from sparsecore.bench.gpu.checks import equals, product_excess
from sparsecore.cuda import cusparselt, kernels24

__all__ = ["compression24", "products24"]

_FORMULA = "useful operations, M * K * N / t, for every contender; a dense one does 2 * M * K * N"
_OWN: tuple[kernels24.Kernel24, ...] = ("canonical", "wide")
_TORCH = {
    "torch cusparselt": "SparseSemiStructuredTensorCUSPARSELT",
    "torch cutlass": "SparseSemiStructuredTensorCUTLASS",
}


def products24(options: Options, device: torch.device) -> Comparison:
    """Compare ``x @ S.T``, what a linear layer does: x has a row for each token."""

    def cases() -> Iterator[Case]:
        for dtype in options.dtypes:
            for m, k in options.shapes:
                W = _pruned(m, k, dtype, options.seed, device)
                for n in options.columns:
                    yield _product(W, n, options.seed)

    title = f"sparse24_matmul on a device, {', '.join(options.dtypes)}"
    return Comparison("gpu 2:4 products", title, "GFLOP/s", _FORMULA, cases())


def compression24(options: Options, device: torch.device) -> Comparison:
    """Compare pruning and compressing in one pass with a copy of the dense matrix."""

    def cases() -> Iterator[Case]:
        for dtype in options.dtypes:
            for m, k in options.shapes:
                W = _random(m, k, dtype, options.seed, device)
                contenders = {
                    "sparsecore": Contender(
                        partial(sc.Sparse24.from_dense, W, prune=True), role="ours"
                    ),
                    "copy": Contender(W.clone, role="baseline"),
                }
                S = sc.Sparse24.from_dense(W, prune=True)
                exact = equals(_pruned(m, k, dtype, options.seed, device))
                labels: dict[str, str | float] = {"dtype": dtype, "M": m, "K": k}
                yield Case(
                    labels, float(W.nbytes + S.nbytes), contenders, partial(_of_pruned, exact)
                )

    formula = "bytes of the dense matrix and of the compressed one, each counted once, / t"
    return Comparison(
        "gpu 2:4 compression", "prune and compress on a device", "GB/s", formula, cases(), "copy"
    )


def _of_pruned(
    exact: Callable[[Contender, Any], float], contender: Contender, result: Any
) -> float:
    return 0.0 if contender.role == "baseline" else exact(contender, result)


def _random(m: int, k: int, dtype: str, seed: int, device: torch.device) -> Any:
    generator = torch.Generator(device).manual_seed(seed)
    if dtype == "int8":
        empty = torch.empty(m, k, dtype=torch.int8, device=device)
        return empty.random_(-128, 128, generator=generator)
    W = torch.randn(m, k, generator=generator, device=device)
    return W.to(getattr(torch, dtype))


def _pruned(m: int, k: int, dtype: str, seed: int, device: torch.device) -> Any:
    W = _random(m, k, dtype, seed, device)
    # Zeros without a sign: torch's own 2:4 takes -0.0 for a number.
    return W.masked_fill(~sc.prune_24(W), 0)


def _product(W: Any, n: int, seed: int) -> Case:
    (m, k), dtype = W.shape, str(W.dtype).removeprefix("torch.")
    x = _random(n, k, dtype, seed + 1, W.device)
    offers = {**_ours(W, x), **_libraries(W, x), **_torchs(W, x)}
    offers["cublas dense"] = _dense(W, x)
    found = {name: offer for name, offer in offers.items() if isinstance(offer, Contender)}
    absent = {name: str(offer) for name, offer in offers.items() if isinstance(offer, Absent)}
    labels: dict[str, str | float] = {"dtype": dtype, "M": m, "K": k, "N": n}
    return Case(labels, float(m) * k * n, found, product_excess(W, x.t()), absent)


def _dense(W: Any, x: Any) -> Contender:
    n, rows = len(x), x
    if x.dtype == torch.int8:  # by a function that takes more than 16 rows, a multiple of 8
        rows = x.new_zeros(max(24, -(-n // 8) * 8), x.shape[1])
        rows[:n] = x
    multiplied = torch._int_mm if x.dtype == torch.int8 else torch.matmul
    return Contender(
        lambda: multiplied(rows, W.t())[:n].t(),
        _sums(x),
        role="baseline",
        held=lambda: {memory.DENSE: W.nbytes},
    )


def _sums(x: Any) -> str:
    return "int32" if x.dtype == torch.int8 else "float32"


def _ours(W: Any, x: Any) -> Offers:
    """Return the product as it is called, and by each kernel that can run it."""
    S = sc.Sparse24.from_dense(W)
    out = x.new_empty(len(x), len(W), dtype=sc.linear(x[:1], S).dtype).t()
    call = kernels24.Call(S._structure, S.values, x.t(), out, "sparse24_matmul")

    def offer(run: Callable[[], Any], kernel: kernels24.Kernel24) -> Contender:
        held = partial(memory.of_ours, S, kernel)
        return Contender(run, _sums(x), role="ours", packing="beforehand", held=held)

    chosen = kernels24.choose(call)
    offers: Offers = {"sparsecore": offer(lambda: sc.linear(x, S).t(), chosen)}
    for kernel in _OWN:
        if kernels24.is_possible(kernel, call):
            offers[f"sparsecore {kernel}"] = offer(partial(_written, kernel, call), kernel)
        else:
            offers[f"sparsecore {kernel}"] = Absent(
                "this device, build or shape has no such kernel"
            )
    return offers


def _written(kernel: kernels24.Kernel24, call: kernels24.Call) -> Any:
    kernels24.run_by(kernel, call)
    return call.out


def _libraries(W: Any, x: Any) -> Offers:
    """Return cuSPARSELt by its own choice of an algorithm, and by a search."""
    names = "cusparselt", "cusparselt searched"
    try:
        S = cusparselt.compress(W)
        fastest = cusparselt.search(S, x.t())
    except (RuntimeError, ValueError, TypeError, MemoryError) as reason:
        return {name: Absent(str(reason).partition("\n")[0]) for name in names}
    calls = (partial(cusparselt.matmul, S, x.t(), algorithm=found) for found in (None, fastest))
    return {
        name: Contender(call, packing="beforehand", held=lambda: {"compressed": S.nbytes})
        for name, call in zip(names, calls, strict=True)
    }


def _torchs(W: Any, x: Any) -> Offers:
    return {name: _torch(kind, W, x) for name, kind in _TORCH.items()}


def _torch(kind: str, W: Any, x: Any) -> Contender | Absent:
    if not W.is_cuda:
        return Absent("torch's own 2:4 tensors are for CUDA only")
    if x.dtype == torch.int8:
        return Absent("torch's own linear of int8 does not give int32")
    try:
        stored = getattr(torch.sparse, kind).from_dense(W)
        call = partial(torch.nn.functional.linear, x, stored)
        call()
    except (RuntimeError, ValueError, TypeError) as reason:  # which NotImplementedError is, too
        return Absent(str(reason).partition("\n")[0])
    return Contender(
        lambda: call().t(), packing="beforehand", held=partial(memory.of_torchs, stored)
    )
