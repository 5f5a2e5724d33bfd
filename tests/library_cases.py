"""Arguments of the operators under ``torch.ops.sparsecore``; imported by tests that need torch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

import cases
import oracle
import sparsecore as sc

KINDS = ("csr", "sparse24", "held")
SHAPE = (6, 10)  # 2:4 with a last group of two


def matrix(kind: str, dtype: Any = torch.float64) -> Any:
    """Return a matrix of tensors with values to learn; an empty row where its format has one."""
    W = cases.random_dense(np.random.default_rng(50), SHAPE, 0.5, oracle.F64)
    if kind == "sparse24":
        S = sc.Sparse24.from_dense(torch.from_numpy(W).to(dtype), prune=True)
        return sc.Sparse24((S.values.clone().requires_grad_(), S.metadata), SHAPE)
    W[3] = 0
    A = sc.CSR.from_dense(torch.from_numpy(W).to(dtype))
    return A.with_data(A.data.clone().requires_grad_())


def values_of(A: Any) -> torch.Tensor:
    """Return the values that the matrix was made of."""
    values: torch.Tensor = A.data if isinstance(A, sc.CSR) else A.values
    return values


def named(kind: str, A: Any) -> list[Any]:
    """Return what tells an operator of this kind which matrix is meant."""
    if kind == "held":
        return [A._handle.token, list(A._handle.sizes)]
    if kind == "sparse24":
        return [A.metadata, list(SHAPE)]
    return [A.indices.to(torch.int16), A.indptr.to(torch.int8), list(SHAPE)]


def numbers(*shape: int, dtype: Any = torch.float64, seed: int = 0, grad: bool = True) -> Any:
    """Return random numbers, which require grad."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=dtype, generator=generator).requires_grad_(grad)


def products(kind: str) -> Iterator[tuple[Any, ...]]:
    """Yield arguments of a product: columns, rows, one vector, transposed, with an epilogue."""
    A = matrix(kind)
    m, k = SHAPE
    start = (values_of(A), *named(kind, A))
    yield numbers(k, 3), *start
    yield numbers(3, k).t(), *start
    yield numbers(k), *start
    yield numbers(m, 2), *start, True
    yield numbers(2, 3, m), *start, True, True
    epilogue = (numbers(m, seed=1), numbers(m, seed=2), numbers(2, 3, m, seed=3))
    yield numbers(2, 3, k), *start, False, True, *epilogue
    yield numbers(3, k), *start, False, True, None, numbers(m, seed=2), None, "silu"


def sampled(kind: str) -> Iterator[tuple[Any, ...]]:
    """Yield arguments of a sampled product."""
    A = matrix(kind)
    m, k = SHAPE
    yield numbers(m, 3), numbers(k, 3, seed=1), *named(kind, A)
    yield numbers(m), numbers(k, seed=1), *named(kind, A)
