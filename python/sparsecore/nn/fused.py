"""Dense layers with what follows them: an activation, and a residual that is added before it.

What `sparsify_` puts in the place of a layer and its followers, and measures sparse layers against.
They hold the weights of torch's layers under the same names.
"""

from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["FusedConv2d", "FusedLinear", "finished"]


def finished(y: Tensor, residual: Tensor | None, activation: str | None) -> Tensor:
    """Return ``activation(y + residual)``; y, a layer's own result, is overwritten if it may be."""
    may_write = not (torch.is_grad_enabled() and y.requires_grad)
    if residual is not None:
        writes = may_write and residual.shape == y.shape and residual.dtype == y.dtype
        y = y.add_(residual) if writes else y + residual
    if activation is None:
        return y
    if activation == "gelu":
        return F.gelu(y)
    return F.relu(y, inplace=may_write) if activation == "relu" else F.silu(y, inplace=may_write)


class FusedConv2d(nn.Conv2d):
    """A convolution, then a residual and an activation: ``activation(conv(x) + residual)``."""

    activation: str | None = None

    @classmethod
    def of(
        cls, conv: nn.Conv2d, weight: Tensor, bias: Tensor | None, activation: str | None
    ) -> Self:
        """Take the place of a convolution, with this weight and bias."""
        layer: Self = nn.utils.skip_init(  # type: ignore[no-untyped-call]
            cls,
            conv.in_channels,
            conv.out_channels,
            conv.kernel_size,
            conv.stride,
            conv.padding,
            conv.dilation,
            conv.groups,
            bias=False,
            padding_mode=conv.padding_mode,
        )
        _take(layer, conv, weight, bias, activation)
        return layer

    def forward(self, input: Tensor, residual: Tensor | None = None) -> Tensor:
        """Return (n, out_channels, h', w')."""
        return finished(super().forward(input), residual, self.activation)

    def extra_repr(self) -> str:
        """Describe the layer as print() shows it."""
        plain: str = super().extra_repr()  # type: ignore[no-untyped-call]
        return f"{plain}, activation={self.activation}"


class FusedLinear(nn.Linear):
    """A linear layer, then a residual and an activation: ``activation(linear(x) + residual)``."""

    activation: str | None = None

    @classmethod
    def of(
        cls, linear: nn.Linear, weight: Tensor, bias: Tensor | None, activation: str | None
    ) -> Self:
        """Take the place of a linear layer, with this weight and bias."""
        layer: Self = nn.utils.skip_init(  # type: ignore[no-untyped-call]
            cls, linear.in_features, linear.out_features, bias=False
        )
        _take(layer, linear, weight, bias, activation)
        return layer

    def forward(self, input: Tensor, residual: Tensor | None = None) -> Tensor:
        """Return (..., out_features)."""
        return finished(super().forward(input), residual, self.activation)

    def extra_repr(self) -> str:
        """Describe the layer as print() shows it."""
        return f"{super().extra_repr()}, activation={self.activation}"


def _take(
    layer: FusedConv2d | FusedLinear,
    old: nn.Module,
    weight: Tensor,
    bias: Tensor | None,
    activation: str | None,
) -> None:
    layer.weight = _parameter(weight)
    layer.bias = None if bias is None else _parameter(bias)
    layer.activation = activation
    layer.train(old.training)


def _parameter(tensor: Tensor) -> nn.Parameter:
    return tensor if isinstance(tensor, nn.Parameter) else nn.Parameter(tensor)
