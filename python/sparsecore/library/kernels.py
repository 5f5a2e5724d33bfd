"""What the operators do: with numbers, and with shapes alone."""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from sparsecore import _core
from sparsecore.cuda import products
from sparsecore.cuda.plan import DevicePlan
from sparsecore.cuda.structure import DeviceStructure
from sparsecore.formats.slots24 import slots_of
from sparsecore.library import shapes
from sparsecore.library.kinds import Kind, Product, name_of
from sparsecore.ops import csr_matmul_of, multiplied_24, sampled
from sparsecore.plan import Plan


def matmul(kind: Kind, x: Tensor, values: Tensor, *rest: Any) -> Tensor:
    """Multiply; `rest` says which matrix, then what `Product` lists."""
    thing, product = kind.find(*rest[: kind.width]), Product(*rest[kind.width :])
    transposed, *options = product
    threads = options.pop()
    call = (x, None, threads, name_of(kind, by_rows=product.by_rows), transposed, *options)
    if isinstance(thing, Plan):
        if values.numel() == 0:
            is_host = not isinstance(thing._plan, DevicePlan)
            function = _core.plan_matmul if is_host else products.plan_matmul
            return _multiplied(function, thing._plan, *call)
        thing = thing._structure
    if isinstance(thing, _core.CsrStructure | DeviceStructure):
        return _multiplied(csr_matmul_of(thing), thing, values, *call)
    return _multiplied(multiplied_24, thing, values, *call)


def _multiplied(function: Callable[..., Any], *arguments: Any) -> Tensor:
    result: Tensor = function(*arguments)
    return result


def sddmm(kind: Kind, u: Tensor, v: Tensor, *rest: Any) -> Tensor:
    """Take ``u @ v.T`` where the matrix has values; `rest` says which matrix, then `threads`."""
    thing = kind.find(*rest[: kind.width])
    threads = rest[kind.width] if len(rest) > kind.width else None
    if isinstance(thing, Plan):
        thing = thing._structure
    if isinstance(thing, _core.CsrStructure | DeviceStructure):
        d: Tensor = sampled(thing, u, v, threads)
        return d
    slots = slots_of(thing)
    placed: Tensor = slots.slots(sampled(slots.structure, u, v, threads))
    return placed


def refused(kind: Kind, x: Tensor, *rest: Any) -> Tensor:
    """Say that a convolution does not run on a CUDA device."""
    del kind, rest
    msg = (
        f"sparsecore: an operand is on device {str(x.device)!r}, but convolutions run on 'cpu' only"
    )
    raise TypeError(msg)


# ---- without numbers ----


def fake_matmul(kind: Kind, x: Tensor, values: Tensor, *rest: Any) -> Tensor:
    """Return what `matmul` would, without its numbers."""
    product = Product(*rest[kind.width :])
    rows, columns, *_ = rest[kind.width - 1]
    return shapes.product(
        x,
        values,
        (columns, rows) if product.transposed else (rows, columns),
        by_rows=product.by_rows,
        epilogue=(product.scale, product.bias, product.residual, product.activation),
        name=name_of(kind, by_rows=product.by_rows),
    )


def fake_sddmm(kind: Kind, u: Tensor, v: Tensor, *rest: Any) -> Tensor:
    """Return what `sddmm` would, without its numbers."""
    rows, columns, *_ = rest[kind.width - 1]
    return shapes.sampled(u, v, (rows, columns), kind.value_shape(*rest[: kind.width]))
