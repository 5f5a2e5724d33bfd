"""Gradients of the products: what torch records when a tensor requires grad.

The formulas are those of `library.gradients`, in our own differentiable products, so gradients of
gradients work. (What torch traces goes by `library.operators` instead, which cost more a call.)
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.autograd import Function

from sparsecore import dense, interop, ops
from sparsecore.formats import CSR, Sparse24
from sparsecore.formats.slots24 import slots_of
from sparsecore.library.gradients import Backward
from sparsecore.ops import Left
from sparsecore.plan import Plan


@dataclass(frozen=True, slots=True)
class Call:
    """What a product is told besides its tensors."""

    left: Left
    transposed: bool
    by_rows: bool
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
        U, V, A, threads
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
        ctx.dtypes = [None if t is None else t.dtype for t in (values, bias, residual)]
        options = (call.transposed, call.by_rows, scale, bias, residual)
        y: torch.Tensor = ops.run(call.left, X, None, call.threads, call.name, *options)
        return y

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[Any, ...]:
        values, X, scale = ctx.saved_tensors
        call = ctx.call
        if isinstance(call.left, Plan) and call.left._version != ctx.version:
            msg = f"{call.name}: the plan was updated between the forward and the backward pass"
            raise RuntimeError(msg)
        left, to_values = _as_csr(call.left, values, X)
        backward = Backward(
            call.transposed,
            call.by_rows,
            lambda x, transposed: _product(left, x, transposed, call),
            lambda u, v: to_values(ops.csr_sddmm(left, u, v, threads=call.threads)),
        )
        needs = ctx.needs_input_grad
        return *backward.gradients(grads[0], X, scale, needs, ctx.dtypes), None


def _product(left: CSR | Plan, X: torch.Tensor, transposed: bool, call: Call) -> torch.Tensor:
    """``left @ X`` with nothing after it; int8 values need factors to meet a floating X: ones."""
    rows = left.shape[1] if transposed else left.shape[0]
    is_int8 = interop.numpy_dtype(left.dtype) == np.int8
    ones = torch.ones(rows, device=X.device) if is_int8 and X.is_floating_point() else None
    y: torch.Tensor = ops.matmul(
        left,
        X,
        transposed=transposed,
        by_rows=call.by_rows,
        scale=ones,
        threads=call.threads,
        name=call.name,
    )
    return y


class _Sddmm(Function):
    """``U @ V.T`` at the positions of A."""

    @staticmethod
    def forward(
        ctx: Any,
        U: torch.Tensor,
        V: torch.Tensor,
        A: CSR | Plan,
        threads: int | None,
    ) -> torch.Tensor:
        ctx.save_for_backward(U, V)
        ctx.structure, ctx.threads = A._structure, threads
        ctx.handle = A._handle if isinstance(A, CSR) else None
        d: torch.Tensor = ops.sampled(A._structure, U, V, threads)
        return d

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[Any, ...]:
        U, V = ctx.saved_tensors
        G = CSR._wrap(ctx.structure, grads[0], ctx.handle)
        d_u = ops.matmul(G, V, threads=ctx.threads) if ctx.needs_input_grad[0] else None
        d_v = None
        if ctx.needs_input_grad[1]:
            d_v = ops.matmul(G, U, transposed=True, threads=ctx.threads)
        return d_u, d_v, None, None


def _as_csr(left: Left, values: torch.Tensor | None, X: torch.Tensor) -> tuple[CSR | Plan, Any]:
    """Return what the backward products run on, and the way from its entries back to the values.

    The values are those that were saved: torch has checked that nothing edited them since.
    """
    if isinstance(left, Sparse24):
        slots = slots_of(left._structure)
        saved = left.values if values is None else values
        entries = slots.entries(ops.as_wide_as(X, saved))
        return CSR._wrap(slots.structure, entries), slots.slots
    if isinstance(left, CSR) and values is not None:
        left = left.with_data(values)
    return left, lambda d: d
