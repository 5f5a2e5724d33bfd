"""Convolutions whose weight is sparse: an ordinary torch module with ordinary tensors."""

from dataclasses import asdict
from functools import partial
from typing import Self

from torch import Tensor, nn

from sparsecore import interop
from sparsecore.conv import ConvPlan, convolved
from sparsecore.dense import Epilogue
from sparsecore.formats import CSR
from sparsecore.library import calls
from sparsecore.nn.csr_layer import CSRLayer
from sparsecore.nn.sparse_conv import SparseConv2d, plain_weight
from sparsecore.nn.stored_values import StoredValues

__all__ = ["CSRConv2d"]


class CSRConv2d(CSRLayer, SparseConv2d[CSR]):
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
    values : {"bfloat16", "float16", "int8"}, optional
        What the values are stored in, if not in `dtype`; see CSRLinear.

    Attributes
    ----------
    values, scale, indices, indptr : Tensor
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

    @classmethod
    def from_dense(cls, conv: nn.Conv2d, *, values: StoredValues | None = None) -> Self:
        """Drop the exact zeros of a pruned layer.

        Parameters
        ----------
        conv : torch.nn.Conv2d
            Its weight is copied; its bias becomes this layer's, the same Parameter. Training mode
            and `requires_grad` are kept.
        values : {"bfloat16", "float16", "int8"}, optional
            What to round the nonzeros to, as for `CSRLinear.from_dense`.

        Raises
        ------
        TypeError
            If `conv` is no nn.Conv2d, or its dtype or device has no kernel.
        ValueError
            If it has hooks or parametrizations, which a copy of its weight would lose, or pads
            with anything but zeros, or not evenly; or its weight cannot be stored as `values` says.
        """
        matrix = CSR.from_dense(plain_weight(conv, cls))
        return cls._sized_as(conv)._take_place_of(conv, matrix, values)

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
        epilogue = Epilogue(self._scale, self.bias, residual, self.activation)
        return calls.conv_layer(input, weight, self.geometry, epilogue)

    def _prepared(self, matrix: CSR, n: int | None) -> ConvPlan:  # noqa: ARG002 - of matrices
        return ConvPlan(matrix, **asdict(self.geometry))
