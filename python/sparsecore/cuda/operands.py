"""Whether operands on a CUDA device fit a product: what the core asks of the host's arrays."""

from typing import Any

from sparsecore import interop
from sparsecore.interop import Values


def require_place(x: Values, device: Any, name: str, what: str) -> None:
    """Raise TypeError where `x` is not a strided tensor of the matrix's device.

    `name` and `what` are the function's and the argument's.
    """
    if not interop.is_tensor(x):
        msg = (
            f"{name}: A is on device {str(device)!r}, {what} is a {type(x).__name__}; expected a "
            "tensor on that device"
        )
        raise TypeError(msg)
    if x.device != device:
        msg = (
            f"{name}: A is on device {str(device)!r}, {what} on {str(x.device)!r}; expected the "
            "same device"
        )
        raise TypeError(msg)
    if x.layout != interop.import_torch().strided:
        msg = f"{name}: {what} has layout {x.layout}, expected torch.strided"
        raise TypeError(msg)
    if x.is_neg():
        msg = f"{name}: {what} is a negated view of its memory; pass {what}.resolve_neg()"
        raise TypeError(msg)


def require_axes(X: Any, out: Any, name: str) -> None:
    """Raise where X is neither a vector nor a matrix, or `out` not what X is."""
    if X.ndim not in (1, 2):
        msg = f"{name}: X has {X.ndim} dimensions, expected 1 or 2"
        raise TypeError(msg)
    if out is not None and out.ndim != X.ndim:
        msg = f"{name}: out has {out.ndim} dimensions, X has {X.ndim}"
        raise ValueError(msg)


def require_layer(x: Any, rows: int, columns: int, residual: Any, out: Any, name: str) -> None:
    """Raise where the operands of a layer, x (..., columns), do not fit it, or each other."""
    if x.ndim == 0:
        msg = f"{name}: x has no axis, expected (..., features)"
        raise TypeError(msg)
    if x.shape[-1] != columns:
        msg = f"{name}: x has {x.shape[-1]} features, A has {columns} columns"
        raise ValueError(msg)
    shape = (*x.shape[:-1], rows)
    for what, operand in (("residual", residual), ("out", out)):
        if operand is not None and operand.shape != shape:
            msg = f"{name}: {what} has shape {tuple(operand.shape)}, expected {shape}"
            raise ValueError(msg)
