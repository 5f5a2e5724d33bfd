"""Values of repeated coordinates on a CUDA device, summed in their order: differentiable.

(torch's own index_add adds by atomic operations there, in an order that changes.)
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from sparsecore import _core
from sparsecore.cuda.current import current


def sum_runs(values: Tensor, order: Tensor | None, starts: Tensor) -> Tensor | None:
    """Return the sum of each run of duplicates, in order; records nothing.

    Parameters
    ----------
    values : (k,) tensor
    order : (k,) int64 tensor or None
        Positions of `values` in canonical order; None keeps the order.
    starts : (s,) int64 tensor
        Where each run begins in that order.

    Returns
    -------
    (s,) tensor, or None where a sum of int8 values does not fit int8
        fp16 and bf16 are summed in fp32 and rounded once.
    """
    given = values.detach().contiguous()
    sums = given.new_empty(len(starts))
    with current(given) as now:
        fits = _core.device_sum_runs(given, order, starts, sums, now.allocate, now.stream)
    return sums if fits else None


def combined(data: Tensor, order: Tensor | None, starts: Tensor | None) -> Tensor:
    """Reorder values, then sum each run of duplicates: `interop.combine`, on a device."""
    if starts is None:
        return data if order is None else data.index_select(0, order)
    result: Tensor = _SumRuns.apply(data, order, starts)  # type: ignore[no-untyped-call]
    return result


class _SumRuns(Function):
    """The gradient of each value is that of its run."""

    @staticmethod
    def forward(ctx: Any, data: Tensor, order: Tensor | None, starts: Tensor) -> Tensor | None:
        ctx.save_for_backward(order, starts)
        ctx.size = len(data)
        return sum_runs(data, order, starts)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        order, starts = ctx.saved_tensors
        places = torch.arange(ctx.size, device=starts.device)
        run = torch.searchsorted(starts, places, right=True) - 1
        if order is not None:
            run = torch.empty_like(run).index_copy(0, order, run)
        return grads[0].index_select(0, run), None, None
