"""The operators under ``torch.ops.sparsecore``: plain strided tensors in, one new tensor out.

There are a product and a sampled product for each way to say which matrix is meant, and of those by
a CSR matrix also a convolution and its gradients. Whoever adds an operation writes its schema,
kernel, fake kernel and gradient, and hands them to `_register`.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from sparsecore import torch_state
from sparsecore.library import convolution, kernels, kinds, recorded
from sparsecore.library.convolution import Convolution, conv2d_of
from sparsecore.library.kinds import Kind, Product, matmul_of, sddmm_of

_LIBRARY = torch.library.Library("sparsecore", "DEF")  # type: ignore[no-untyped-call]

# ---- autocast, vmap ----


def _autocast_matmul(kind: Kind, x: Tensor, values: Tensor, *rest: Any) -> Tensor:
    product = Product(*rest[kind.width :])
    return _autocast(matmul_of(kind), x, values, rest[: kind.width], product)


def _autocast_conv2d(kind: Kind, x: Tensor, values: Tensor, *rest: Any) -> Tensor:
    given = Convolution(*rest[kind.width :])
    return _autocast(conv2d_of(kind), x, values, rest[: kind.width], given)


def _autocast(
    operator: Any,
    x: Tensor,
    values: Tensor,
    structure: tuple[Any, ...],
    given: Product | Convolution,
) -> Tensor:
    x, residual = torch_state.under_autocast(x, given.residual, to=values.dtype)
    with torch.autocast(x.device.type, enabled=False):
        y: Tensor = operator(x, values, *structure, *given._replace(residual=residual))
    return y


def _autocast_sddmm(kind: Kind, u: Tensor, v: Tensor, *rest: Any) -> Tensor:
    u, v = torch_state.under_autocast(u, v)
    with torch.autocast(u.device.type, enabled=False):
        d: Tensor = sddmm_of(kind)(u, v, *rest)
    return d


def _one_by_one(operator: Any, info: Any, in_dims: Any, *arguments: Any) -> tuple[Tensor, int]:
    """Run an operator for each member of a batch: matrices do not share their work."""
    moved = [
        value if dim is None or not isinstance(value, Tensor) else value.movedim(dim, 0)
        for value, dim in zip(arguments, in_dims, strict=True)
    ]

    def member(i: int) -> Tensor:
        given = (
            value[i] if isinstance(value, Tensor) and dim is not None else value
            for value, dim in zip(moved, in_dims, strict=True)
        )
        result: Tensor = operator(*given)
        return result

    return torch.stack([member(i) for i in range(info.batch_size)]), 0


# ---- registration ----


def _register(name: str, schema: str, kind: Kind, functions: dict[str, Callable[..., Any]]) -> None:
    def of_kind(function: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *arguments: function(kind, *arguments)

    library: Any = _LIBRARY
    library.define(f"{name}({schema}) -> Tensor", tags=[torch.Tag.pt2_compliant_tag])
    library.impl(name, of_kind(functions["kernel"]), "CPU")
    library.impl(name, of_kind(functions["on_device"]), "CUDA")
    if "autocast" in functions:
        for key in ("AutocastCPU", "AutocastCUDA"):
            library.impl(name, of_kind(functions["autocast"]), key)
    qualified = f"sparsecore::{name}"
    torch.library.register_fake(qualified, of_kind(functions["fake"]), lib=_LIBRARY)
    torch.library.register_autograd(
        qualified, of_kind(functions["backward"]), setup_context=recorded.save, lib=_LIBRARY
    )
    if hasattr(torch.library, "register_vmap"):  # of torch 2.5
        operator = getattr(torch.ops.sparsecore, name).default

        def batched(info: Any, in_dims: Any, *arguments: Any) -> tuple[Tensor, int]:
            return _one_by_one(operator, info, in_dims, *arguments)

        torch.library.register_vmap(qualified, batched, lib=_LIBRARY)


for _kind in (kinds.CSR, kinds.SPARSE24, kinds.HELD):
    _register(
        f"{_kind.name}_matmul",
        f"Tensor x, Tensor values, {_kind.schema}, {kinds.PRODUCT_SCHEMA}",
        _kind,
        {
            "kernel": kernels.matmul,
            "on_device": kernels.matmul,
            "fake": kernels.fake_matmul,
            "backward": recorded.matmul_backward,
            "autocast": _autocast_matmul,
        },
    )
    _register(
        f"{_kind.name}_sddmm",
        f"Tensor u, Tensor v, {_kind.schema}, int? threads=None",
        _kind,
        {
            "kernel": kernels.sddmm,
            "on_device": kernels.sddmm,
            "fake": kernels.fake_sddmm,
            "backward": recorded.sddmm_backward,
            "autocast": _autocast_sddmm,
        },
    )

for _kind in (kinds.CSR, kinds.HELD):
    _register(
        f"{_kind.name}_conv2d",
        f"Tensor x, Tensor values, {_kind.schema}, {convolution.SCHEMA}",
        _kind,
        {
            "kernel": convolution.conv2d,
            "on_device": kernels.refused,
            "fake": convolution.fake_conv2d,
            "backward": convolution.conv2d_backward,
            "autocast": _autocast_conv2d,
        },
    )
    _register(
        f"{_kind.name}_conv2d_image_gradient",
        f"Tensor dY, Tensor values, {_kind.schema}, {convolution.GEOMETRY_SCHEMA}, "
        "SymInt[] size, int? threads",
        _kind,
        {
            "kernel": convolution.image_gradient,
            "on_device": kernels.refused,
            "fake": convolution.fake_image_gradient,
            "backward": convolution.image_gradient_backward,
        },
    )
    _register(
        f"{_kind.name}_conv2d_values_gradient",
        f"Tensor dY, Tensor x, {_kind.schema}, {convolution.GEOMETRY_SCHEMA}, int? threads",
        _kind,
        {
            "kernel": convolution.values_gradient,
            "on_device": kernels.refused,
            "fake": convolution.fake_values_gradient,
            "backward": convolution.values_gradient_backward,
        },
    )
