"""What CSRConv2d and Sparse24Conv2d share."""

from typing import Any, Self

import torch
from torch import Tensor, nn

from sparsecore.conv_geometry import ConvGeometry
from sparsecore.nn.fused import FusedConv2d
from sparsecore.nn.held import Matrix
from sparsecore.nn.layers import obstacle, uneven_padding
from sparsecore.nn.sparse_layer import SparseLayer
from sparsecore.nn.stored_values import StoredValues


class SparseConv2d(SparseLayer[Matrix]):
    """A 2-D convolution whose weight is a sparse matrix."""

    geometry: ConvGeometry
    in_channels: int
    out_channels: int

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
        *,
        dtype: torch.dtype | None = None,
        values: StoredValues | None = None,
    ) -> None:
        super().__init__()
        self.geometry = ConvGeometry.of(kernel_size, stride, padding, dilation, groups)
        name = type(self).__name__
        if groups < 1 or in_channels % groups or out_channels % groups:
            msg = (
                f"{name}: groups is {groups}, expected a divisor of in_channels, {in_channels}, "
                f"and out_channels, {out_channels}"
            )
            raise ValueError(msg)
        for what, value in (("in_channels", in_channels), ("out_channels", out_channels)):
            if value < 0:
                msg = f"{name}: {what} is {value}, expected 0 or more"
                raise ValueError(msg)
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.geometry.check(self._weight_shape())
        self._check_kernel()
        self._hold(values, *self._zeros(dtype))
        zeros = nn.Parameter(torch.zeros(out_channels, dtype=dtype))
        self.register_parameter("bias", zeros if bias else None)

    def _check_kernel(self) -> None:
        """Raise ValueError where there is no kernel for the geometry."""

    @classmethod
    def _sized_as(cls, conv: nn.Conv2d, values: StoredValues | None = None) -> Self:
        """Return a layer of the same sizes, without nonzeros and bias."""
        return cls(
            conv.in_channels,
            conv.out_channels,
            conv.kernel_size,
            conv.stride,
            _padding(conv),
            conv.dilation,
            conv.groups,
            bias=False,
            values=values,
        )

    def _take_place_of(self, conv: nn.Conv2d, matrix: Matrix, values: StoredValues | None) -> Self:
        trainable = conv.weight.requires_grad
        self._hold(values, *self._parts(matrix), trainable=trainable)
        self.bias = conv._parameters["bias"]
        self.activation = getattr(conv, "activation", None)
        self.fused = isinstance(conv, FusedConv2d)
        return self.train(conv.training)

    def to_dense(self) -> nn.Conv2d:
        """Return an nn.Conv2d with the same weight and a copy of the bias."""
        g = self.geometry
        with torch.no_grad():
            # skip_init: drawing initial weights would move the generator of the caller.
            conv: nn.Conv2d = nn.utils.skip_init(  # type: ignore[no-untyped-call]
                nn.Conv2d,
                self.in_channels,
                self.out_channels,
                g.kernel_size,
                g.stride,
                g.padding,
                g.dilation,
                g.groups,
                bias=self.bias is not None,
            )
            weight = self._dense_weight().reshape(conv.weight.shape)
            conv.weight = nn.Parameter(weight, self.values.requires_grad)
            if self.bias is not None:
                conv.bias = nn.Parameter(self.bias.clone(), self.bias.requires_grad)
        return conv.train(self.training)

    def _weight_shape(self) -> tuple[int, int]:
        g = self.geometry
        taps = g.kernel_size[0] * g.kernel_size[1]
        return (self.out_channels, self.in_channels // g.groups * taps)

    def _sizes(self) -> str:
        g = self.geometry
        return (
            f"{self.in_channels}, {self.out_channels}, kernel_size={g.kernel_size}, "
            f"stride={g.stride}, padding={g.padding}, dilation={g.dilation}, groups={g.groups}"
        )


def plain_weight(conv: object, cls: type[nn.Module]) -> Tensor:
    """Return the weight of `conv` as a matrix, refusing what a copy would not stand for."""
    if not isinstance(conv, nn.Conv2d):
        msg = f"{cls.__name__}.from_dense: conv is a {type(conv).__name__}, expected nn.Conv2d"
        raise TypeError(msg)
    reason = obstacle(conv) or uneven_padding(conv)
    if reason is not None:
        msg = f"{cls.__name__}.from_dense: {reason}"
        raise ValueError(msg)
    weight = conv.weight.detach()
    return weight.reshape(len(weight), -1)


def _padding(conv: nn.Conv2d) -> tuple[int, int]:
    """Return the zeros that a convolution pads on both sides, as numbers."""
    if conv.padding == "valid":
        return (0, 0)
    if isinstance(conv.padding, str):  # "same"
        spans = [d * (k - 1) for d, k in zip(conv.dilation, conv.kernel_size, strict=True)]
        return (spans[0] // 2, spans[1] // 2)
    vertical, horizontal = conv.padding
    return (int(vertical), int(horizontal))
