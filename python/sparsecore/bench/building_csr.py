"""CSR to what products are run from: the transpose, and plans."""

from collections.abc import Callable
from typing import Any

import numpy as np

import sparsecore as sc
from sparsecore.bench.building_triplets import parts, same_parts, torch_parts
from sparsecore.bench.comparison import Case, Contender
from sparsecore.bench.peers import Roster

__all__ = ["plan_case", "transpose_case"]

COLUMNS = 128  # that a plan is made for


def transpose_case(W: Any, sparsity: float, roster: Roster) -> Case:
    """Sort a matrix by its columns."""
    A = sc.CSR.from_dense(W)
    contenders = {
        "sparsecore": Contender(lambda: parts(A.T.tocsr()), role="ours"),
        "numpy copy": _copy(A),
    }
    if "scipy" in roster.present:
        S = A.to_scipy()
        contenders["scipy"] = Contender(lambda: parts(S.T.tocsr()))
    if "torch" in roster.present:
        import torch

        T = torch.from_numpy(W).to_sparse_csr()
        contenders["torch"] = Contender(lambda: torch_parts(T.t().to_sparse_csr()))
    expected = parts(sc.CSR.from_dense(np.ascontiguousarray(W.T)))
    labels = {"build": "CSR transposed", "size": W.size, "sparsity": sparsity}
    return Case(labels, 2.0 * A.nbytes, contenders, _equal(expected, parts(A)))


def plan_case(W: Any, sparsity: float) -> Case:
    """Make a plan, and give one new values. What MKL takes is in the first calls of ``spmm``."""
    A = sc.CSR.from_dense(W)
    plan = A.prepare(n=COLUMNS)
    new_values = -A.data

    def update() -> sc.Plan:
        plan.update(new_values)
        return plan

    prepare, copy = Contender(lambda: A.prepare(n=COLUMNS), role="ours"), _copy(A)
    contenders = {
        "sparsecore": prepare,
        "sparsecore update": Contender(update, role="ours"),
        "numpy copy": copy,
    }

    def excess(contender: Contender, result: Any) -> float:
        if contender is copy:
            return 0.0 if same_parts(result, parts(A)) else np.inf
        expected = A.data if contender is prepare else new_values
        return 0.0 if np.array_equal(result.unpack(), expected) else np.inf

    labels = {"build": "CSR to plan", "size": W.size, "sparsity": sparsity}
    return Case(labels, float(A.nbytes + plan.nbytes), contenders, excess)


def _copy(A: sc.CSR) -> Contender:
    arrays = parts(A)
    return Contender(lambda: tuple(array.copy() for array in arrays), role="baseline")


def _equal(expected: Any, copied: Any) -> Callable[[Contender, Any], float]:
    def excess(contender: Contender, result: Any) -> float:
        right = copied if contender.role == "baseline" else expected
        return 0.0 if same_parts(result, right) else np.inf

    return excess
