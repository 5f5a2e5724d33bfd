"""Gradients of the products: what torch records when a tensor requires grad.

With Y = A X: the gradient of A's values is the sampled product of dY and X at the stored
positions, that of X is A^T dY. Both are our own differentiable products, so gradients of gradients
work, and nothing dense of A's shape ever exists.
"""

from typing import Any

import numpy as np
import torch
from torch.autograd import Function

from sparsecore import _core, interop, ops
from sparsecore.formats import CSR, Sparse24
from sparsecore.ops import Left
from sparsecore.plan import Plan


def matmul(
    left: Left,
    X: torch.Tensor,
    *,
    transposed: bool,
    scale: Any,
    threads: int | None,
    name: str,
) -> torch.Tensor:
    """Multiply as `sparsecore.ops.matmul`, recorded."""
    rows = left.shape[1] if transposed else left.shape[0]
    if interop.numpy_dtype(left.dtype) == np.int8 and scale is not None:
        # The factors are applied outside, where torch sees them; the kernel gets ones.
        ones = np.ones(rows, np.float32)
        y = _record(left, X, transposed, ones, threads, name)
    else:
        y = _record(left, X, transposed, None, threads, name)
    if scale is None:
        return y
    factors = torch.as_tensor(scale)
    if factors.shape != (rows,):
        msg = f"{name}: scale has shape {tuple(factors.shape)}, expected ({rows},)"
        raise ValueError(msg)
    return (y * (factors if y.ndim == 1 else factors[:, None])).to(y.dtype)


def csr_sddmm(
    A: CSR | Plan, U: torch.Tensor, V: torch.Tensor, *, threads: int | None
) -> torch.Tensor:
    """Sampled product as `sparsecore.csr_sddmm`, recorded."""
    result: torch.Tensor = _Sddmm.apply(U, V, A._structure, threads)
    return result


def _record(
    left: Left,
    X: torch.Tensor,
    transposed: bool,
    ones: np.ndarray[Any, Any] | None,
    threads: int | None,
    name: str,
) -> torch.Tensor:
    if isinstance(left, Sparse24):
        values: Any = left.values
    else:
        values = None if isinstance(left, Plan) else left.data
    if values is not None and not isinstance(values, torch.Tensor):
        values = None  # numpy values are constant
    result: torch.Tensor = _Matmul.apply(values, X, left, transposed, ones, threads, name)
    return result


class _Matmul(Function):
    """``left @ X``; `values` are left's own, listed so that torch sees them."""

    @staticmethod
    def forward(
        ctx: Any,
        values: torch.Tensor | None,
        X: torch.Tensor,
        left: Left,
        transposed: bool,
        ones: Any,
        threads: int | None,
        name: str,
    ) -> torch.Tensor:
        ctx.save_for_backward(values, X)
        ctx.left, ctx.transposed, ctx.threads = left, transposed, threads
        y: torch.Tensor = ops.matmul(
            left, X, transposed=transposed, scale=ones, threads=threads, name=name
        )
        return y

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[Any, ...]:
        values, X = ctx.saved_tensors
        left, transposed, threads = ctx.left, ctx.transposed, ctx.threads
        dY = grads[0]
        if isinstance(left, CSR) and values is not None:
            left = left.with_data(values)  # as saved: torch checks that nothing edited them
        if isinstance(left, Sparse24):
            left, values_gradient = _slots_as_csr(left, values)
        else:
            values_gradient = _unchanged
        d_values = d_x = None
        if ctx.needs_input_grad[0]:
            u, v = (X, dY) if transposed else (dY, X)
            d = ops.csr_sddmm(left, u, v, threads=threads)
            d_values = values_gradient(d).to(values.dtype)
        if ctx.needs_input_grad[1]:
            rows = left.shape[0] if transposed else left.shape[1]
            ones = np.ones(rows, np.float32)
            is_int8 = interop.numpy_dtype(left.dtype) == np.int8
            d_x = ops.matmul(
                left, dY, transposed=not transposed, scale=ones if is_int8 else None,
                threads=threads,
            )
        return d_values, d_x, None, None, None, None, None


class _Sddmm(Function):
    """``U @ V.T`` at the positions of `structure`."""

    @staticmethod
    def forward(
        ctx: Any,
        U: torch.Tensor,
        V: torch.Tensor,
        structure: _core.CsrStructure,
        threads: int | None,
    ) -> torch.Tensor:
        ctx.save_for_backward(U, V)
        ctx.structure, ctx.threads = structure, threads
        pattern = CSR._wrap(structure, np.empty(structure.nnz, np.int8))
        d: torch.Tensor = ops.csr_sddmm(pattern, U, V, threads=threads)
        return d

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[Any, ...]:
        U, V = ctx.saved_tensors
        G = CSR._wrap(ctx.structure, grads[0])
        d_u = ops.matmul(G, V, threads=ctx.threads) if ctx.needs_input_grad[0] else None
        d_v = None
        if ctx.needs_input_grad[1]:
            d_v = ops.matmul(G, U, transposed=True, threads=ctx.threads)
        return d_u, d_v, None, None


def _unchanged(d: torch.Tensor) -> torch.Tensor:
    return d


def _slots_as_csr(S: Sparse24, values: torch.Tensor | None) -> tuple[CSR, Any]:
    """Return a 2:4 matrix as CSR, slots that hold zeros included, and the way back for gradients.

    The way back puts a gradient per CSR entry at its slot, zero at the slots that lie in padding.
    """
    m, k = S.shape
    slots = S._structure.column_ids()
    per_row = slots.shape[1]
    inside = np.flatnonzero(slots.reshape(-1) < k)
    indptr = np.concatenate([[0], np.cumsum((slots < k).sum(axis=1))]).astype(np.int64)
    columns = np.ascontiguousarray(slots.reshape(-1)[inside])
    structure, _, _ = _core.csr_from_arrays(indptr, columns, (m, k), "error")
    flat = (S.values if values is None else values).reshape(-1)

    def to_slots(d: torch.Tensor) -> torch.Tensor:
        full = d.new_zeros(m * per_row)
        return full.index_copy(0, torch.from_numpy(inside), d).reshape(m, per_row)

    return CSR._wrap(structure, interop.take(flat, inside)), to_slots
