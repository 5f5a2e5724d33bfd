"""What torch is doing at the moment of a call: tracing, transforming, recording, autocasting.

These run in each call from torch, hence the names bound once. Imported when a first tensor comes.
"""

import functools
from typing import Any

import torch
from torch import Tensor, is_autocast_enabled, is_grad_enabled
from torch._C import _are_functorch_transforms_active, _len_torch_dispatch_stack
from torch.autograd import forward_ad
from torch.compiler import is_dynamo_compiling
from torch.nn import Parameter

from sparsecore import interop
from sparsecore.interop import DTypeLike, Values


def is_plain(x: object) -> bool:
    """Whether `x` is a tensor with nothing between it and its numbers.

    False where torch must see what is done with it: while it is traced (`torch.compile`), under
    `torch.func`'s transforms or forward-mode AD, under a dispatch mode (`FakeTensorMode`,
    `make_fx`), or where it is of a subclass.
    """
    kind = type(x)
    return (kind is Tensor or kind is Parameter) and not (
        is_dynamo_compiling()
        or _len_torch_dispatch_stack()
        or _are_functorch_transforms_active()
        or forward_ad._current_level >= 0
    )


def is_direct(values: Values, x: Any, out: Values, *others: Values) -> bool:
    """Whether `x` is a plain tensor, and torch would neither cast nor record its product."""
    kind = type(x)  # as in is_plain, whose call would take half as long again
    if kind is not Tensor and kind is not Parameter:
        return False
    if (
        is_dynamo_compiling()
        or _len_torch_dispatch_stack()
        or _are_functorch_transforms_active()
        or forward_ad._current_level >= 0
    ):
        return False
    if x.dtype is not values.dtype and is_autocast_enabled("cuda" if x.is_cuda else "cpu"):
        return False
    if out is not None and (type(out) is not Tensor or out.requires_grad):
        return False
    if not is_grad_enabled():
        return True
    if x.requires_grad or getattr(values, "requires_grad", False):
        return False
    for value in others:  # a loop, because a generator takes longer
        if value is not None and getattr(value, "requires_grad", False):
            return False
    return True


def under_autocast(x: Values, *others: Values, to: DTypeLike = None) -> tuple[Values, ...]:
    """Return tensors as `torch.autocast` hands them to a product; as they are where it is off.

    Parameters
    ----------
    x, *others : tensors; others may be None
    to : dtype, optional
        Of the stored values, which x is cast to: a weight is never copied. int8 takes any x.
        Without it, all are cast to the widest of their own.
    """
    given = (x, *others)
    if not is_autocast_enabled("cuda" if x.is_cuda else "cpu"):
        return given
    narrow = (torch.float32, torch.float16, torch.bfloat16)  # fp64 is left alone, as by torch
    if to is None:
        to = functools.reduce(torch.promote_types, [t.dtype for t in given])
    elif not isinstance(to, torch.dtype):
        to = getattr(torch, interop.numpy_dtype(to).name)
    if to not in narrow:
        return given
    return tuple(t.to(to) if isinstance(t, Tensor) and t.dtype in narrow else t for t in given)


interop.is_plain, interop.is_direct = is_plain, is_direct
