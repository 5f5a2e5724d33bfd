"""Gradients of the products: what torch records when a tensor requires grad.

With Y = A X: the gradient of A's values is the sampled product of dY and X at the stored
positions, that of X is A^T dY. Both are our own differentiable products, so gradients of gradients
work, and nothing dense of A's shape ever exists.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.autograd import Function

from sparsecore import _core, dense, interop, ops
from sparsecore.formats import CSR, Sparse24
from sparsecore.ops import Left
from sparsecore.plan import Plan


@dataclass(frozen=True, slots=True)
class Call:
    """What a product is told besides its tensors."""

    left: Left
    transposed: bool
    threads: int | None
    name: str

    @property
    def values(self) -> torch.Tensor | None:
        """The values that torch can see: a tensor's; a plan's and numpy's are constant."""
        left = self.left
        if isinstance(left, Plan):
            return None
        values = left.values if isinstance(left, Sparse24) else left.data
        return values if isinstance(values, torch.Tensor) else None


def matmul(
    call: Call, X: torch.Tensor, scale: Any, bias: Any, residual: Any, activation: str | None
) -> torch.Tensor:
    """Multiply as `sparsecore.ops.matmul`, recorded; the activation is torch's own."""
    scale, bias, residual = (_tensor(value, X) for value in (scale, bias, residual))
    y = _Matmul.apply(  # type: ignore[no-untyped-call]
        call.values, X, scale, bias, residual, call
    )
    result: torch.Tensor = dense.activated(y, activation)
    return result


def _tensor(value: Any, X: torch.Tensor) -> torch.Tensor | None:
    """Return an argument that may be numpy's as a tensor."""
    if value is None or isinstance(value, torch.Tensor):
        return value
    tensor: torch.Tensor = interop.from_numpy(np.asarray(value), like=X)
    return tensor


def csr_sddmm(
    A: CSR | Plan, U: torch.Tensor, V: torch.Tensor, *, threads: int | None
) -> torch.Tensor:
    """Take the sampled product as `sparsecore.csr_sddmm`, recorded."""
    result: torch.Tensor = _Sddmm.apply(  # type: ignore[no-untyped-call]
        U, V, A._structure, threads
    )
    return result


class _Matmul(Function):
    """``(left @ X) * scale + bias + residual``; `values` are left's, for torch to see."""

    @staticmethod
    def forward(
        ctx: Any,
        values: torch.Tensor | None,
        X: torch.Tensor,
        scale: torch.Tensor | None,
        bias: torch.Tensor | None,
        residual: torch.Tensor | None,
        call: Call,
    ) -> torch.Tensor:
        ctx.save_for_backward(values, X, scale)
        ctx.call = call
        ctx.version = call.left._version if isinstance(call.left, Plan) else 0
        ctx.dtypes = [None if t is None else t.dtype for t in (bias, residual)]
        y: torch.Tensor = ops.matmul(
            call.left,
            X,
            transposed=call.transposed,
            scale=scale,
            bias=bias,
            residual=residual,
            threads=call.threads,
            name=call.name,
        )
        return y

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[Any, ...]:
        values, X, scale = ctx.saved_tensors
        dY, call, needs = grads[0], ctx.call, ctx.needs_input_grad
        if isinstance(call.left, Plan) and call.left._version != ctx.version:
            msg = f"{call.name}: the plan was updated between the forward and the backward pass"
            raise RuntimeError(msg)
        left, to_values = _as_csr(call.left, values)
        scaled = dY if scale is None else (dY * _columns(scale, dY)).to(dY.dtype)
        d_values = d_x = d_scale = d_bias = d_residual = None
        if needs[0]:
            u, v = (X, scaled) if call.transposed else (scaled, X)
            d_values = to_values(ops.csr_sddmm(left, u, v, threads=call.threads)).to(values.dtype)
        if needs[1]:
            d_x = _product(left, scaled, not call.transposed, call.threads)
        if needs[2]:
            product = _product(left, X, call.transposed, call.threads)
            d_scale = _over_columns(dY * product).to(scale.dtype)
        if needs[3]:
            d_bias = _over_columns(dY).to(ctx.dtypes[0])
        if needs[4]:
            d_residual = dY.to(ctx.dtypes[1])
        return d_values, d_x, d_scale, d_bias, d_residual, None


def _product(
    left: CSR | Plan, X: torch.Tensor, transposed: bool, threads: int | None
) -> torch.Tensor:
    """``left @ X`` with nothing after it; int8 values need factors to meet a floating X: ones."""
    rows = left.shape[1] if transposed else left.shape[0]
    is_int8 = interop.numpy_dtype(left.dtype) == np.int8
    ones = torch.ones(rows) if is_int8 and X.is_floating_point() else None
    y: torch.Tensor = ops.matmul(left, X, transposed=transposed, scale=ones, threads=threads)
    return y


def _columns(factors: torch.Tensor, dY: torch.Tensor) -> torch.Tensor:
    return factors if dY.ndim == 1 else factors[:, None]


def _over_columns(d: torch.Tensor) -> torch.Tensor:
    return d if d.ndim == 1 else d.sum(dim=1)


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


def _as_csr(left: Left, values: torch.Tensor | None) -> tuple[CSR | Plan, Any]:
    """Return what the backward products run on, and the way from its entries back to the values.

    The values are those that were saved: torch has checked that nothing edited them since.
    """
    if isinstance(left, Sparse24):
        return _slots_as_csr(left, values)
    if isinstance(left, CSR) and values is not None:
        left = left.with_data(values)
    return left, lambda d: d


def _slots_as_csr(S: Sparse24, values: torch.Tensor | None) -> tuple[CSR, Any]:
    """Return a 2:4 matrix as CSR, slots that hold zeros included.

    The way back puts a gradient per CSR entry at its slot, zero at the slots that lie in padding.
    """
    m, k = S.shape
    slots = S._structure.column_ids()
    inside = np.flatnonzero(slots.reshape(-1) < k)
    indptr = np.concatenate([[0], np.cumsum((slots < k).sum(axis=1))]).astype(np.int64)
    columns = np.ascontiguousarray(slots.reshape(-1)[inside])
    structure = _core.csr_from_arrays(indptr, columns, (m, k), "error", None, 1)[0]
    flat = (S.values if values is None else values).reshape(-1)

    def to_slots(d: torch.Tensor) -> torch.Tensor:
        full = d.new_zeros(slots.size)
        return full.index_copy(0, torch.from_numpy(inside), d).reshape(slots.shape)

    return CSR._wrap(structure, interop.take(flat, inside)), to_slots
