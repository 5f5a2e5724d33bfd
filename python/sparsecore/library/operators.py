"""The operators under ``torch.ops.sparsecore``: plain strided tensors in, one new tensor out.

There are a product and a sampled product for each way to say which matrix is meant. Whoever adds an
operation (a convolution, say) writes its schema, kernel, fake kernel and gradient, and hands them
to `_register`.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from sparsecore import torch_state
from sparsecore.library import kernels, kinds, recorded
from sparsecore.library.kinds import Kind, Product, matmul_of, sddmm_of

_LIBRARY = torch.library.Library("sparsecore", "DEF")  # type: ignore[no-untyped-call]

# ---- autocast, vmap ----


def _autocast_matmul(kind: Kind, x: Tensor, values: Tensor, *rest: Any) -> Tensor:
    structure, product = rest[: kind.width], Product(*rest[kind.width :])
    x, residual = torch_state.under_autocast(x, product.residual, to=values.dtype)
    with torch.autocast("cpu", enabled=False):
        y: Tensor = matmul_of(kind)(x, values, *structure, *product._replace(residual=residual))
    return y


def _autocast_sddmm(kind: Kind, u: Tensor, v: Tensor, *rest: Any) -> Tensor:
    u, v = torch_state.under_autocast(u, v)
    with torch.autocast("cpu", enabled=False):
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
    library.impl(name, of_kind(functions["autocast"]), "AutocastCPU")
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
            "fake": kernels.fake_sddmm,
            "backward": recorded.sddmm_backward,
            "autocast": _autocast_sddmm,
        },
    )
