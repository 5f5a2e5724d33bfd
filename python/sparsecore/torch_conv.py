"""Gradients of sparse convolutions.

With Y = A * X, patches(X) being the convolution's right side as a matrix (``unfold``): the gradient
of A's values is the sampled product of dY and the patches at the stored positions, that of X is
``fold(A^T dY)``. Images are taken a few at a time, so that their patches stay small.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch.autograd import Function

from sparsecore import conv, dense, interop, ops
from sparsecore.conv import ConvGeometry, ConvPlan
from sparsecore.formats import CSR

_PATCH_BYTES = 64 << 20


def conv2d(
    x: torch.Tensor,
    plan: ConvPlan,
    values: torch.Tensor | None,
    epilogue: dense.Epilogue,
    threads: int | None,
) -> torch.Tensor:
    """Convolve as `sparsecore.conv2d`, recorded; `values` are the plan's, for torch to see."""
    tensors = [
        t if t is None or isinstance(t, torch.Tensor) else interop.from_numpy(t, like=x)
        for t in (epilogue.scale, epilogue.bias, epilogue.residual)
    ]
    seen = values if isinstance(values, torch.Tensor) else None
    y = _Conv2d.apply(seen, x, *tensors, plan, threads)  # type: ignore[no-untyped-call]
    result: torch.Tensor = dense.activated(y, epilogue.activation)
    return result


class _Conv2d(Function):
    """``conv(x, A) * scale + bias + residual``."""

    @staticmethod
    def forward(
        ctx: Any,
        values: torch.Tensor | None,
        x: torch.Tensor,
        scale: torch.Tensor | None,
        bias: torch.Tensor | None,
        residual: torch.Tensor | None,
        plan: ConvPlan,
        threads: int | None,
    ) -> torch.Tensor:
        ctx.save_for_backward(values, x, scale)
        ctx.plan, ctx.threads, ctx.version = plan, threads, plan._version
        ctx.dtypes = [None if t is None else t.dtype for t in (bias, residual)]
        epilogue = dense.Epilogue(scale, bias, residual, None)
        y: torch.Tensor = conv.run(plan, x, epilogue, out=None, threads=threads)
        return y

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[Any, ...]:
        values, x, scale = ctx.saved_tensors
        dY, plan, needs = grads[0], ctx.plan, ctx.needs_input_grad
        if plan._version != ctx.version:
            msg = "conv2d: the plan was updated between the forward and the backward pass"
            raise RuntimeError(msg)
        weight = plan.tocsr() if values is None else CSR._wrap(plan._structure, values)
        groups = _Groups(weight, plan.geometry, ctx.threads)
        scaled = dY if scale is None else (dY * scale[:, None, None]).to(dY.dtype)
        d_values = d_x = d_scale = d_bias = d_residual = None
        if needs[0]:
            d_values = groups.values_gradient(scaled, x).to(values.dtype)
        if needs[1]:
            d_x = groups.image_gradient(scaled, x)
        if needs[2]:
            ones = torch.ones_like(scale) if _is_int8(weight) else None
            y = conv2d(x, plan, values, dense.Epilogue(ones, None, None, None), ctx.threads)
            d_scale = (dY * y).sum(dim=(0, 2, 3)).to(scale.dtype)
        if needs[3]:
            d_bias = dY.sum(dim=(0, 2, 3)).to(ctx.dtypes[0])
        if needs[4]:
            d_residual = dY.to(ctx.dtypes[1])
        return d_values, d_x, d_scale, d_bias, d_residual, None, None


class _Groups:
    """The backward products of a convolution, group by group, a few images at a time."""

    def __init__(self, weight: CSR, geometry: ConvGeometry, threads: int | None) -> None:
        self._geometry = geometry
        self._threads = threads
        rows = weight.shape[0] // geometry.groups
        self._weights = (
            [weight]
            if geometry.groups == 1
            else [
                weight.gather_rows(range(g * rows, (g + 1) * rows)) for g in range(geometry.groups)
            ]
        )

    def values_gradient(self, dY: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """Return the gradient of the values, in CSR order."""
        parts: list[Any] = [0] * self._geometry.groups
        for images in self._chunks(x):
            patches = self._patches(x[images])
            for g, weight in enumerate(self._weights):
                d = _columns(_group(dY[images], g, self._geometry.groups).flatten(2))
                parts[g] = parts[g] + ops.csr_sddmm(weight, d, patches[g], threads=self._threads)
        return torch.cat(parts)

    def image_gradient(self, dY: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """Return the gradient of the images."""
        return torch.cat([self._folded(dY[images], x[images]) for images in self._chunks(x)])

    def _folded(self, dY: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        images, pixels, columns = len(x), dY.shape[2] * dY.shape[3], []
        for g, weight in enumerate(self._weights):
            d = _columns(_group(dY, g, self._geometry.groups).flatten(2))
            ones = torch.ones(weight.shape[1], dtype=d.dtype) if _is_int8(weight) else None
            rows = ops.matmul(weight, d, transposed=True, scale=ones, threads=self._threads)
            columns.append(rows.unflatten(1, (images, pixels)).transpose(0, 1))
        return F.fold(torch.cat(columns, 1), x.shape[2:], **self._arguments())

    def _patches(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Return each group's right side, (in_channels / groups * taps, images * pixels)."""
        unfolded = F.unfold(x, **self._arguments())
        return [
            _columns(_group(unfolded, g, self._geometry.groups))
            for g in range(self._geometry.groups)
        ]

    def _chunks(self, x: torch.Tensor) -> Iterator[slice]:
        taps = self._geometry.kernel_size[0] * self._geometry.kernel_size[1]
        image_bytes = max(x[:1].numel() * taps * x.element_size(), 1)
        step = max(1, _PATCH_BYTES // image_bytes)
        for begin in range(0, max(len(x), 1), step):
            yield slice(begin, begin + step)

    def _arguments(self) -> dict[str, Any]:
        g = self._geometry
        return {
            "kernel_size": g.kernel_size,
            "stride": g.stride,
            "padding": g.padding,
            "dilation": g.dilation,
        }


def _group(t: torch.Tensor, g: int, groups: int) -> torch.Tensor:
    """Return a group's part of dimension 1."""
    size = t.shape[1] // groups
    return t[:, g * size : (g + 1) * size]


def _columns(t: torch.Tensor) -> torch.Tensor:
    """Return (images, rows, pixels) as a matrix, (rows, images * pixels)."""
    return t.transpose(0, 1).flatten(1)


def _is_int8(weight: CSR) -> bool:
    """Say whether the values need factors, if only ones, to meet floating numbers."""
    return interop.numpy_dtype(weight.dtype) == np.int8
