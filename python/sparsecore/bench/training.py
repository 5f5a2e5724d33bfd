"""The training comparison: the gradients of ``Y = A @ X``.

That of A's values is ``dY @ X.T`` at the stored positions, that of X is ``A.T @ dY``.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import sparsecore as sc
from sparsecore.bench.arguments import Options
from sparsecore.bench.comparison import ROUNDOFF, Case, Comparison, Contender, worst_excess
from sparsecore.bench.operands import Matrix, kind_of, matrices, product
from sparsecore.bench.peers import Roster, sparsecore_csr
from sparsecore.bench.products import FORMULA, case, peers_offers

__all__ = ["train"]

_NO_SDDMM = "no product at stored positions"


def train(options: Options, roster: Roster) -> Comparison:
    """Compare both gradients in float32 with those of a dense layer."""
    kind = kind_of("float32")

    def cases() -> Iterator[Case]:
        for A in matrices(options, kind.values):
            for n in options.columns:
                dX = product(A.labelled(gradient="dX"), n, options, kind, transposed=True)
                dY = dX.X.reshape(A.shape[0], -1)
                X = product(A, n, options, kind).X.reshape(A.shape[1], -1)
                yield _weights_case(A.labelled(gradient="dW"), dY, X, roster)
                yield case(dX, {**sparsecore_csr.products(dX), **peers_offers(dX, roster)})

    title = "csr_sddmm and csr_matmul(A.T, dY), float32"
    return Comparison("train", title, "GFLOP/s", FORMULA, cases())


def _weights_case(A: Matrix, dY: Any, X: Any, roster: Roster) -> Case:
    ours, n = A.csr, dY.shape[1]
    contenders: dict[str, Contender] = {
        "sparsecore": Contender(lambda: sc.csr_sddmm(ours, dY, X), role="ours")
    }
    absent = {name: _NO_SDDMM for name in roster.present if name != "torch"}
    if "torch" in roster.present:
        contenders |= _torch_sddmm(A, dY, X)
    contenders["numpy dense"] = Contender(lambda: dY @ X.T, role="baseline")
    labels = {**A.labels, "N": n}
    excess = _sddmm_excess(A, dY, X)
    return Case(labels, 2.0 * len(A.data) * n, contenders, excess, absent)


def _torch_sddmm(A: Matrix, dY: Any, X: Any) -> dict[str, Contender]:
    import torch

    from sparsecore.bench.peers.torch_peer import csr_tensor

    T, left, right = csr_tensor(A), torch.from_numpy(dY), torch.from_numpy(X).t()

    def sampled() -> Any:
        return torch.sparse.sampled_addmm(T, left, right, beta=0.0).values()

    return {
        "torch sampled_addmm": Contender(sampled),
        "torch dense": Contender(lambda: left @ right, role="baseline"),
    }


def _sddmm_excess(A: Matrix, dY: Any, X: Any) -> Callable[[Contender, Any], float]:
    """Return the check against float64, with the bound of `product_excess`: n terms each."""
    left, right = dY.astype(np.float64), X.T.astype(np.float64)
    expected, magnitude = left @ right, np.abs(left) @ np.abs(right)
    roundoff = (dY.shape[1] + 1) * (ROUNDOFF["float32"] + ROUNDOFF["float64"]) + ROUNDOFF["float32"]
    stored = np.repeat(np.arange(A.shape[0]), np.diff(A.indptr)), A.indices

    def excess(contender: Contender, result: Any) -> float:
        place = ... if contender.role == "baseline" else stored
        if result.shape != expected[place].shape:
            return np.inf
        return worst_excess(np.asarray(result) - expected[place], roundoff * magnitude[place])

    return excess
