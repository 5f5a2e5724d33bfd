"""Values that a layer stores narrower than it computes: bfloat16, float16, int8 with scales.

The kernels widen them on their way in: fewer bytes have to come from memory, which is what a
product with a few rows waits for.
"""

from collections.abc import Mapping
from typing import Literal, TypeAlias, get_args

import torch
from torch import Tensor

__all__ = [
    "StoredValues",
    "check_scale",
    "checked_form",
    "dtype_name",
    "rounded",
    "store",
    "storing_obstacle",
    "widened",
]

StoredValues: TypeAlias = Literal["bfloat16", "float16", "int8"]
_DTYPES: Mapping[StoredValues, torch.dtype] = {
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "int8": torch.int8,
}
_LARGEST_CODE = 127


def dtype_name(dtype: torch.dtype) -> str:
    """Return a dtype's name as numpy has it.

    Examples
    --------
    >>> dtype_name(torch.bfloat16)
    'bfloat16'
    """
    return str(dtype).removeprefix("torch.")


def checked_form(values: object, *, name: str) -> StoredValues | None:
    """Return `values` if it names a stored form, or None.

    Raises
    ------
    ValueError
        Where it is something else.
    """
    if values is None:
        return None
    for form in get_args(StoredValues):
        if values == form:
            return form  # type: ignore[no-any-return]
    expected = ", ".join(map(repr, get_args(StoredValues)))
    msg = f"{name} is {values!r}, expected None or one of {expected}"
    raise ValueError(msg)


def storing_obstacle(weight: Tensor, form: StoredValues | None) -> str | None:
    """Say why a weight cannot be stored so; None where it can.

    Parameters
    ----------
    weight : floating tensor
        Or its nonzeros.
    form : {"bfloat16", "float16", "int8"} or None

    Examples
    --------
    >>> storing_obstacle(torch.tensor([[1e5, 0.0]]), "float16")
    'its largest magnitude is 1e+05, which float16 does not hold'
    """
    if form is None:
        return None
    if form != "int8" and weight.dtype not in (torch.float32, _DTYPES[form]):
        return f"it is {dtype_name(weight.dtype)}, and {form} values take float32 inputs"
    if weight.numel() == 0 or weight.is_meta:
        return None
    if form == "int8":
        if not bool(weight.isfinite().all()):
            return "it has NaN or Inf, which int8 does not hold"
        largest = float(weight.double().abs().max())
        if largest > torch.finfo(torch.float32).max:
            return f"its largest magnitude is {largest:.4g}, which a float32 scale does not hold"
        return None
    if bool((weight.to(_DTYPES[form]).isinf() & weight.isfinite()).any()):
        largest = float(weight[weight.isfinite()].abs().max())
        return f"its largest magnitude is {largest:.4g}, which {form} does not hold"
    return None


def store(
    values: Tensor, rows: Tensor, count: int, form: StoredValues | None
) -> tuple[Tensor, Tensor | None]:
    """Round values to the form that they are stored in.

    Parameters
    ----------
    values : floating tensor
        Of which `storing_obstacle` says nothing.
    rows : int64 tensor, like `values`
        The row that each one is in.
    count : int
        How many rows there are.
    form : {"bfloat16", "float16", "int8"} or None
        None leaves the values as they are.

    Returns
    -------
    values : tensor
    scale : (count,) float32 tensor, or None
        Of int8 only: ``max|row| / 127``, 1 for a row without nonzeros. A value is ``round(value /
        scale)``, halves to even: symmetric quantization by channel (Krishnamoorthi, Quantizing
        deep convolutional networks for efficient inference, section 2.1.2).

    Examples
    --------
    >>> w = torch.tensor([0.5, -127.0, 3.0])
    >>> codes, scale = store(w, torch.tensor([0, 0, 2]), 3, "int8")
    >>> codes.tolist(), [round(s, 4) for s in scale.tolist()]
    ([0, -127, 127], [1.0, 1.0, 0.0236])
    """
    if form != "int8":
        return (values if form is None else values.to(_DTYPES[form])), None
    wide, place = values.double().flatten(), rows.flatten()
    largest = wide.new_zeros(count).scatter_reduce(0, place, wide.abs(), "amax")
    smallest = torch.finfo(torch.float32).smallest_normal  # of less, too few digits would be left
    scale = torch.where(largest > 0, (largest / _LARGEST_CODE).clamp(min=smallest), 1.0).float()
    codes = (wide / scale.double()[place]).round()
    return codes.to(torch.int8).view(values.shape), scale


def widened(weight: Tensor, scale: Tensor | None, dtype: torch.dtype) -> Tensor:
    """Return a dense weight, (rows, columns), of a layer's dtype from what was stored of it."""
    if scale is None:
        return weight.to(dtype)
    wide = torch.promote_types(dtype, torch.float32)
    return (weight.to(wide) * scale.to(wide)[:, None]).to(dtype)


def rounded(weight: Tensor, form: StoredValues | None) -> Tensor:
    """Return a dense weight, (rows, ...), as float64: what is left of it once it is stored.

    Examples
    --------
    >>> rounded(torch.tensor([[254.0, 3.0]]), "int8").tolist()
    [[254.0, 4.0]]
    """
    flat = weight.detach().flatten(1)
    rows = torch.arange(len(flat))[:, None].expand(flat.shape)
    values, scale = store(flat, rows, len(flat), form)
    return widened(values, scale, torch.float64).view(weight.shape)


def check_scale(scale: Tensor, rows: int) -> None:
    """Check the scales of int8 values.

    Raises
    ------
    TypeError
        Where they are not floating.
    ValueError
        Where there is not one a row, or one is not finite and positive; names the row.
    """
    if not scale.is_floating_point():
        msg = f"scale is {dtype_name(scale.dtype)}, expected float32"
        raise TypeError(msg)
    if tuple(scale.shape) != (rows,):
        msg = f"scale has shape {tuple(scale.shape)}, expected ({rows},), one number a row"
        raise ValueError(msg)
    if scale.is_meta:
        return
    bad = ~(scale.isfinite() & (scale > 0))
    if bool(bad.any()):
        row = int(bad.nonzero()[0])
        msg = f"scale of row {row} is {float(scale[row])}, expected a finite number above 0"
        raise ValueError(msg)
