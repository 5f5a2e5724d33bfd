"""Gradients of sparse convolutions.

With Y = A * X, patches(X) being the convolution's right side as a matrix (``unfold``): the gradient
of A's values is the sampled product of dY and the patches at the stored positions, that of X is
``fold(A^T dY)``. Images are taken a few at a time, so that their patches stay small.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch.autograd import Function

from sparsecore import _core, conv, dense, interop, ops
from sparsecore.conv import ConvPlan
from sparsecore.conv_geometry import ConvGeometry
from sparsecore.formats import CSR
from sparsecore.library.gradients import ConvBackward

_PATCH_BYTES = 1 << 20  # stays in the cache: 64 MB took 1.8 to 2.8 times as long


def conv2d(
    x: torch.Tensor,
    A: CSR | ConvPlan,
    geometry: ConvGeometry,
    epilogue: dense.Epilogue,
    threads: int | None,
) -> torch.Tensor:
    """Convolve as `sparsecore.conv2d`, recorded."""
    tensors = [
        t if t is None or isinstance(t, torch.Tensor) else interop.from_numpy(t, like=x)
        for t in (epilogue.scale, epilogue.bias, epilogue.residual)
    ]
    data = None if isinstance(A, ConvPlan) else A.data
    seen = data if isinstance(data, torch.Tensor) else None
    y = _Conv2d.apply(seen, x, *tensors, A, geometry, threads)  # type: ignore[no-untyped-call]
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
        A: CSR | ConvPlan,
        geometry: ConvGeometry,
        threads: int | None,
    ) -> torch.Tensor:
        ctx.save_for_backward(values, x, scale)
        ctx.A, ctx.geometry, ctx.threads = A, geometry, threads
        ctx.version = A._version if isinstance(A, ConvPlan) else 0
        ctx.dtypes = [None if t is None else t.dtype for t in (bias, residual)]
        packed = A._plan if isinstance(A, ConvPlan) else conv.packed(A._structure, A.data, geometry)
        y: torch.Tensor = _core.conv2d(packed, x, None, threads, scale, bias, residual)
        return y

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[Any, ...]:
        values, x, scale = ctx.saved_tensors
        A, geometry, threads = ctx.A, ctx.geometry, ctx.threads
        if isinstance(A, ConvPlan) and A._version != ctx.version:
            msg = "conv2d: the plan was updated between the forward and the backward pass"
            raise RuntimeError(msg)
        weight = A.tocsr() if values is None else CSR._wrap(A._structure, values)
        groups = Groups(weight, geometry, threads)

        def convolve(x: torch.Tensor) -> torch.Tensor:
            ones = torch.ones_like(scale) if _is_int8(weight) else None
            y: torch.Tensor = conv.convolved(x, weight, None, geometry, scale=ones, threads=threads)
            return y

        back = ConvBackward(
            convolve, lambda dY: groups.image_gradient(dY, x.shape[2:]), groups.values_gradient
        )
        dtypes = [None if values is None else values.dtype, *ctx.dtypes]
        found = back.gradients(grads[0], x, scale, ctx.needs_input_grad, dtypes)
        return (*found, None, None, None)


class Groups:
    """The backward products of a convolution, group by group, a few images at a time."""

    def __init__(self, weight: CSR, geometry: ConvGeometry, threads: int | None) -> None:
        self._geometry = geometry
        self._threads = threads
        self._patch_rows = weight.shape[1] * geometry.groups
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
        for images in self._chunks(dY):
            patches = self._patches(x[images])
            for g, weight in enumerate(self._weights):
                d = _columns(_group(dY[images], g, self._geometry.groups).flatten(2))
                parts[g] = parts[g] + ops.csr_sddmm(weight, d, patches[g], threads=self._threads)
        return torch.cat(parts)

    def image_gradient(self, dY: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
        """Return the gradient of the images, whose height and width are `size`."""
        return torch.cat([self._folded(dY[images], size) for images in self._chunks(dY)])

    def _folded(self, dY: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
        images, pixels, columns = len(dY), dY.shape[2] * dY.shape[3], []
        for g, weight in enumerate(self._weights):
            d = _columns(_group(dY, g, self._geometry.groups).flatten(2))
            ones = torch.ones(weight.shape[1], dtype=d.dtype) if _is_int8(weight) else None
            rows = ops.matmul(weight, d, transposed=True, scale=ones, threads=self._threads)
            columns.append(rows.unflatten(1, (images, pixels)).transpose(0, 1))
        return F.fold(torch.cat(columns, 1), tuple(size), **self._arguments())

    def _patches(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Return each group's right side, (in_channels / groups * taps, images * pixels)."""
        unfolded = F.unfold(x, **self._arguments())
        return [
            _columns(_group(unfolded, g, self._geometry.groups))
            for g in range(self._geometry.groups)
        ]

    def _chunks(self, dY: torch.Tensor) -> Iterator[slice]:
        patch_bytes = self._patch_rows * dY.shape[2] * dY.shape[3] * dY.element_size()
        step = max(1, _PATCH_BYTES // max(patch_bytes, 1))
        for begin in range(0, max(len(dY), 1), step):
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
