"""The tensors of a sparse layer in a state that it is to load."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from sparsecore.nn.stored_values import check_scale, dtype_name

__all__ = ["check_stored", "incoming_tensors"]


def incoming_tensors(
    state_dict: Mapping[str, Any], prefix: str, names: Sequence[str]
) -> dict[str, Tensor]:
    """Return those of the tensors that the state has, on the CPU.

    Raises
    ------
    TypeError
        Where one is no tensor.
    """
    incoming = {}
    for name in names:
        if prefix + name not in state_dict:
            continue
        tensor = state_dict[prefix + name]
        if not isinstance(tensor, Tensor):
            msg = f"{name} is a {type(tensor).__name__}, expected a tensor"
            raise TypeError(msg)
        incoming[name] = tensor.cpu() if tensor.is_cuda else tensor
    return incoming


def check_stored(
    incoming: Mapping[str, Tensor], dtype: torch.dtype, *, has_scale: bool, rows: int
) -> None:
    """Check the values and scales for a layer whose values are of a dtype.

    Raises
    ------
    TypeError, ValueError
        Where copying would make other numbers of the values, int8 to floating or back, or the
        scales are not one finite number above 0 a row.
    """
    values, scale = incoming.get("values"), incoming.get("scale")
    if values is not None and (values.dtype == torch.int8) != has_scale:
        found, own = dtype_name(values.dtype), dtype_name(dtype)
        msg = (
            f"values are {found} in the state, {own} in the layer: int8 ones belong to a layer "
            "that was made with values='int8'"
        )
        raise TypeError(msg)
    if scale is None:
        return
    if not has_scale:
        msg = "the state has a scale, which a layer without int8 values does not"
        raise ValueError(msg)
    check_scale(scale, rows)
