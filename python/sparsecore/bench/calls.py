"""What a call costs besides its kernel: products so small that nothing else takes time.

From numpy and torch, without and with a gradient recorded (the forward pass alone), by function, by
layer and by operator. Baselines are torch's own call or numpy's for the same dense weight.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import sparsecore as sc
from sparsecore.bench.arguments import Options
from sparsecore.bench.comparison import ROUNDOFF, Case, Comparison, Contender, worst_excess
from sparsecore.bench.operands import Matrix, kind_of, matrices
from sparsecore.bench.peers import Roster
from sparsecore.bench.products import FORMULA

__all__ = ["calls"]

_Calls = dict[str, Callable[[], Any]]


def calls(options: Options, roster: Roster) -> Comparison:
    """Time calls in float32: ``A @ X`` from numpy, and layers from torch where it is present."""

    def cases() -> Iterator[Case]:
        for A in matrices(options, kind_of("float32").values):
            for n in options.columns:
                x = np.random.default_rng([options.seed, n]).standard_normal(
                    (n, A.shape[1]), np.float32
                )
                yield _numpy_case(A, x)
                if "torch" in roster.present:
                    yield from _torch_cases(A, x)

    absent = [name for name in roster.present if name != "torch"]
    title = "small calls, float32"
    named = (_without(case, absent) for case in cases())
    return Comparison("calls", title, "GFLOP/s", FORMULA, named)


def _without(case: Case, absent: list[str]) -> Case:
    why = dict.fromkeys(absent, "not compared in calls")
    return Case(case.labels, case.work, case.contenders, case.excess, why)


def _numpy_case(A: Matrix, x: Any) -> Case:
    ours, plan, X = A.csr, A.csr.prepare(n=len(x)), np.ascontiguousarray(x.T)
    offers = {"sparsecore": lambda: sc.csr_matmul(ours, X)}
    plans = {"sparsecore plan": lambda: sc.csr_matmul(plan, X)}
    return _case(
        A, x, "csr_matmul, numpy", "none", (offers, plans), {"numpy dense": lambda: A.dense @ X}
    )


def _torch_cases(A: Matrix, x: Any) -> Iterator[Case]:
    """Yield a case for each way to call; a layer of a model is called with (batch, rows, k)."""
    import torch

    given = torch.from_numpy(x)
    W, bias = torch.from_numpy(A.dense), torch.zeros(A.shape[0])
    for gradient in ("none", "recorded"):
        weight, b = (t.clone().requires_grad_(gradient == "recorded") for t in (W, bias))
        matrix, X = sc.CSR.from_dense(W), given.t().contiguous()
        matrix = matrix.with_data(matrix.data.clone().requires_grad_(gradient == "recorded"))
        plan = matrix.prepare(n=len(x))
        ours = {"sparsecore": _product(matrix, X)}, {"sparsecore plan": _product(plan, X)}
        dense = {"torch dense": _dense(weight, X)}
        yield _case(A, x, "csr_matmul", gradient, ours, dense)
        for shape in (given, given[None]):
            layer = _linear_calls(matrix, plan, shape, b)
            dense = {"torch dense": _f_linear(shape, weight, b)}
            yield _case(A, x, f"linear, {shape.ndim}-D", gradient, layer, dense)
            yield _module_case(A, x, shape, gradient)


def _product(matrix: Any, X: Any) -> Callable[[], Any]:
    return lambda: sc.csr_matmul(matrix, X)


def _dense(weight: Any, X: Any) -> Callable[[], Any]:
    return lambda: weight @ X


def _linear_calls(matrix: Any, plan: Any, x: Any, bias: Any) -> tuple[_Calls, _Calls]:
    """Return `linear` with a matrix and, as the compiler calls it, by the operator; with a plan."""
    from torch import ops

    kernel = ops.sparsecore.csr_matmul.default
    tensors = matrix.data, matrix.indices, matrix.indptr, list(matrix.shape)
    offers: _Calls = {
        "sparsecore": lambda: sc.linear(x, matrix, bias),
        "sparsecore operator": lambda: kernel(x, *tensors, False, True, None, bias),
    }
    return offers, {"sparsecore plan": lambda: sc.linear(x, plan, bias)}


def _f_linear(x: Any, weight: Any, bias: Any) -> Callable[[], Any]:
    from torch.nn.functional import linear

    return lambda: linear(x, weight, bias)


def _module_case(A: Matrix, x: Any, shape: Any, gradient: str) -> Case:
    import torch

    linear = torch.nn.Linear(*A.shape[::-1])
    with torch.no_grad():
        linear.weight.copy_(torch.from_numpy(A.dense))
        assert linear.bias is not None
        linear.bias.zero_()
    layer = sc.nn.CSRLinear.from_dense(linear).requires_grad_(gradient == "recorded")
    prepared = sc.nn.CSRLinear.from_dense(linear).prepare_(n=len(x))
    prepared.requires_grad_(gradient == "recorded")
    linear.requires_grad_(gradient == "recorded")
    offers = {"sparsecore": lambda: layer(shape)}
    plans = {"sparsecore plan": lambda: prepared(shape)}
    dense = {"torch dense": lambda: linear(shape)}
    return _case(A, x, f"layer, {shape.ndim}-D", gradient, (offers, plans), dense)


def _case(
    A: Matrix, x: Any, call: str, gradient: str, ours: tuple[_Calls, _Calls], dense: _Calls
) -> Case:
    """Put a case together; `ours` are calls without packing, and with packing beforehand."""
    contenders = {name: Contender(run, role="ours") for name, run in ours[0].items()}
    for name, run in ours[1].items():
        contenders[name] = Contender(run, role="ours", packing="beforehand")
    contenders |= {name: Contender(run, role="baseline") for name, run in dense.items()}
    labels = {**A.labels, "call": call, "gradient": gradient, "N": len(x)}
    return Case(labels, 2.0 * len(A.data) * len(x), contenders, _excess(A, x))


def _excess(A: Matrix, x: Any) -> Callable[[Contender, Any], float]:
    """Return the check against float64, with the bound of `product_excess` and one more sum."""
    left, right = x.astype(np.float64), A.dense.T.astype(np.float64)
    expected, magnitude = left @ right, np.abs(left) @ np.abs(right)
    terms = A.shape[1] + 2
    roundoff = terms * (ROUNDOFF["float32"] + ROUNDOFF["float64"]) + ROUNDOFF["float32"]

    def excess(_: Contender, result: Any) -> float:
        found = result.detach().numpy() if hasattr(result, "detach") else result
        found = found.T if found.shape == expected.shape[::-1] else found
        if found.size != expected.size:
            return np.inf
        return worst_excess(found.reshape(expected.shape) - expected, roundoff * magnitude)

    return excess
