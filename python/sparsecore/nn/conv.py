"""Convolutions whose weight is sparse: an ordinary torch module with ordinary tensors."""

from dataclasses import asdict
from functools import partial
from typing import Any, Self

import torch
from torch import Tensor, nn

from sparsecore import interop
from sparsecore.conv import ConvPlan, convolved
from sparsecore.conv_geometry import ConvGeometry
from sparsecore.dense import Epilogue
from sparsecore.formats import CSR
from sparsecore.library import calls
from sparsecore.library.structures import narrowed
from sparsecore.nn.csr_layer import CSRLayer
from sparsecore.nn.fused import FusedConv2d
from sparsecore.nn.layers import obstacle, uneven_padding

__all__ = ["CSRConv2d"]


class CSRConv2d(CSRLayer):
    """A 2-D convolution whose weight is stored as CSR; ``matrix()`` returns it.

    Built by :meth:`from_dense`; the constructor makes a layer without nonzeros, to be filled by
    ``load_state_dict``, which takes any number of nonzeros. Runs on images in any memory order and
    keeps that (contiguous or channels_last).

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size, stride, padding, dilation : int or (int, int)
        As in ``nn.Conv2d``; zeros are padded.
    groups : int
    bias : bool
        Whether to add a learnt bias.
    dtype : torch.dtype, optional
        Of values and bias; torch's default dtype if not given.

    Attributes
    ----------
    values, indices, indptr : Tensor
        As CSRLinear's, of the matrix (out_channels, in_channels / groups * kernel_h * kernel_w).
    bias : Parameter, (out_channels,), or None

    Examples
    --------
    >>> import torch
    >>> dense = torch.nn.Conv2d(2, 3, 3, padding=1)
    >>> with torch.no_grad():
    ...     _ = dense.weight.mul_(torch.rand_like(dense.weight) < 0.3)
    >>> sparse = CSRConv2d.from_dense(dense)
    >>> x = torch.rand(1, 2, 8, 8)
    >>> torch.allclose(sparse(x), dense(x), atol=1e-6)
    True
    """

    _plan: ConvPlan | None = None

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
    ) -> None:
        super().__init__()
        self.geometry = ConvGeometry.of(kernel_size, stride, padding, dilation, groups)
        if groups < 1 or in_channels % groups or out_channels % groups:
            msg = (
                f"CSRConv2d: groups is {groups}, expected a divisor of in_channels, {in_channels}, "
                f"and out_channels, {out_channels}"
            )
            raise ValueError(msg)
        for name, value in (("in_channels", in_channels), ("out_channels", out_channels)):
            if value < 0:
                msg = f"CSRConv2d: {name} is {value}, expected 0 or more"
                raise ValueError(msg)
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.geometry.check(self._weight_shape())
        indptr = torch.zeros(out_channels + 1, dtype=torch.int8)
        self._hold(torch.empty(0, dtype=dtype), torch.empty(0, dtype=torch.int8), indptr)
        zeros = nn.Parameter(torch.zeros(out_channels, dtype=dtype))
        self.register_parameter("bias", zeros if bias else None)

    @classmethod
    def from_dense(cls, conv: nn.Conv2d) -> Self:
        """Drop the exact zeros of a pruned layer.

        Parameters
        ----------
        conv : torch.nn.Conv2d
            Its weight is copied; its bias becomes this layer's, the same Parameter. Training mode
            and `requires_grad` are kept.

        Raises
        ------
        TypeError
            If `conv` is no nn.Conv2d, or its dtype or device has no kernel.
        ValueError
            If it has hooks or parametrizations, which a copy of its weight would lose, or pads
            with anything but zeros, or not evenly.
        """
        if not isinstance(conv, nn.Conv2d):
            msg = f"CSRConv2d.from_dense: conv is a {type(conv).__name__}, expected nn.Conv2d"
            raise TypeError(msg)
        reason = obstacle(conv) or uneven_padding(conv)
        if reason is not None:
            msg = f"CSRConv2d.from_dense: {reason}"
            raise ValueError(msg)
        weight = conv.weight.detach()
        matrix = CSR.from_dense(weight.reshape(len(weight), -1))
        layer = cls._sized_as(conv)
        layer.values = nn.Parameter(matrix.data, requires_grad=conv.weight.requires_grad)
        layer.indices, layer.indptr = narrowed(matrix.indices), narrowed(matrix.indptr)
        layer.bias = conv._parameters["bias"]
        layer.activation = getattr(conv, "activation", None)
        layer.fused = isinstance(conv, FusedConv2d)
        return layer.train(conv.training)

    @classmethod
    def _sized_as(cls, conv: nn.Conv2d) -> Self:
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
        )

    def to_dense(self) -> nn.Conv2d:
        """Return an nn.Conv2d with the same weight and a copy of the bias."""
        conv: nn.Conv2d
        if self._plan is not None:
            conv = super().to_dense()
            return conv
        g, matrix = self.geometry, self.matrix()
        with torch.no_grad():
            # skip_init: drawing initial weights would move the generator of the caller.
            conv = nn.utils.skip_init(  # type: ignore[no-untyped-call]
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
            weight = matrix.toarray().reshape(conv.weight.shape)
            conv.weight = nn.Parameter(weight, self.values.requires_grad)
            if self.bias is not None:
                conv.bias = nn.Parameter(self.bias.clone(), self.bias.requires_grad)
        return conv.train(self.training)

    def forward(self, input: Tensor, residual: Tensor | None = None) -> Tensor:
        """Convolve: (n, in_channels, h, w) -> (n, out_channels, h', w'), differentiable.

        Where the layer has an activation, that of it, and of what `residual` adds.

        Raises
        ------
        TypeError
            If `input` is no torch.Tensor.
        """
        x = self._checked(input)
        if self._plan is None and not interop.is_plain(x):
            return self._traced(x, residual)
        return self._finished(partial(convolved, geometry=self.geometry), x, residual)

    def _traced(self, input: Tensor, residual: Tensor | None) -> Tensor:
        """Return the same of the layer's own tensors, for where torch must see the call."""
        weight = (self.values, self.indices, self.indptr, list(self._weight_shape()))
        epilogue = Epilogue(None, self.bias, residual, self.activation)
        return calls.conv_layer(input, weight, self.geometry, epilogue)

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

    def _prepared(self, matrix: CSR, n: int | None) -> ConvPlan:  # noqa: ARG002 - of matrices
        return ConvPlan(matrix, **asdict(self.geometry))


def _padding(conv: nn.Conv2d) -> tuple[int, int]:
    """Return the zeros that a convolution pads on both sides, as numbers."""
    if conv.padding == "valid":
        return (0, 0)
    if isinstance(conv.padding, str):  # "same"
        spans = [d * (k - 1) for d, k in zip(conv.dilation, conv.kernel_size, strict=True)]
        return (spans[0] // 2, spans[1] // 2)
    vertical, horizontal = conv.padding
    return (int(vertical), int(horizontal))
