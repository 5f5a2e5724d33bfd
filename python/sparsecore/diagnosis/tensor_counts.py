"""Zeros of torch's tensors, whatever their layout, dtype and device."""

from typing import Any

import torch
from torch import Tensor

from sparsecore import interop
from sparsecore.diagnosis.counting import Counts, count

__all__ = ["count_tensor"]


def count_tensor(tensor: Tensor, summed_axis: int | None = None) -> Counts:
    """Count the zeros of a tensor; on the meta device, where there is none to see, there are none.

    Parameters
    ----------
    tensor : Tensor
    summed_axis : int, optional
        See `count`.

    Examples
    --------
    >>> count_tensor(torch.eye(4).to_sparse()).nonzeros
    4
    """
    if tensor.is_meta:
        return Counts(tensor.numel(), tensor.numel(), {})
    plain = tensor.detach()
    if plain.layout != torch.strided:
        plain = plain.to_dense()
    if plain.is_quantized:
        plain = plain.dequantize()
    return count(_on_host(plain), summed_axis)


def _on_host(tensor: Tensor) -> Any:
    """Return a tensor as an array whose zeros are the tensor's, whatever its dtype."""
    try:
        return interop.to_host(tensor)
    except TypeError:  # a dtype that numpy has not
        return (tensor != 0).cpu().numpy()
