"""1 x 1 convolutions whose weight is 2:4: an ordinary torch module with ordinary tensors."""

from functools import partial
from typing import Self

import torch
from torch import Tensor, nn

from sparsecore import interop
from sparsecore.formats import Sparse24
from sparsecore.library import calls
from sparsecore.nn.fused import finished
from sparsecore.nn.layers import Dense
from sparsecore.nn.pointwise import pixels, pointwise
from sparsecore.nn.sparse24_layer import Sparse24Layer
from sparsecore.nn.sparse_conv import SparseConv2d, plain_weight
from sparsecore.nn.stored_values import StoredValues

__all__ = ["Sparse24Conv2d", "has_24_kernel"]


def has_24_kernel(dense: Dense) -> bool:
    """Whether a layer is linear, or a 1 x 1 convolution without groups, which is alike."""
    if isinstance(dense, nn.Linear):
        return True
    return tuple(dense.kernel_size) == (1, 1) and dense.groups == 1


class Sparse24Conv2d(Sparse24Layer, SparseConv2d[Sparse24]):
    """A 1 x 1 convolution whose weight is stored as 2:4; ``matrix()`` returns it.

    Of every four neighbouring input channels two are kept for an output channel. Built by
    :meth:`from_dense`; the constructor makes a layer of zeros, to be filled by ``load_state_dict``.
    Runs on images in any memory order and keeps that (contiguous or channels_last), fastest in
    channels_last.

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size : int or (int, int)
        1 only; a dilation then changes nothing.
    stride, padding, dilation : int or (int, int)
        As in ``nn.Conv2d``; zeros are padded.
    groups : int
        1 only.
    bias : bool
        Whether to add a learnt bias.
    dtype : torch.dtype, optional
        Of values and bias; torch's default dtype if not given.
    values : {"bfloat16", "float16", "int8"}, optional
        What the values are stored in, if not in `dtype`; see CSRLinear.

    Attributes
    ----------
    values, scale, metadata : Tensor
        As Sparse24Linear's, of the matrix (out_channels, in_channels).
    bias : Parameter, (out_channels,), or None

    Raises
    ------
    ValueError
        Where the kernel is larger, or there are groups.

    Examples
    --------
    >>> import torch
    >>> import sparsecore as sc
    >>> dense = torch.nn.Conv2d(8, 4, 1)
    >>> with torch.no_grad():
    ...     mask = sc.prune_24(dense.weight.flatten(1)).view_as(dense.weight)
    ...     _ = dense.weight.mul_(mask)
    >>> sparse = Sparse24Conv2d.from_dense(dense)
    >>> x = torch.rand(1, 8, 5, 5)
    >>> torch.allclose(sparse(x), dense(x), atol=1e-6), sparse.values.shape
    (True, torch.Size([4, 4]))
    """

    def _check_kernel(self) -> None:
        g = self.geometry
        if g.kernel_size != (1, 1) or g.groups != 1:
            msg = (
                f"Sparse24Conv2d: kernel_size is {g.kernel_size}, groups is {g.groups}, expected "
                "(1, 1) and 1: other convolutions have no 2:4 kernel"
            )
            raise ValueError(msg)

    @classmethod
    def from_dense(cls, conv: nn.Conv2d, *, values: StoredValues | None = None) -> Self:
        """Compress a 1 x 1 convolution that was pruned to 2:4 along its input channels.

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
            If its kernel is larger or it has groups; if its weight is not 2:4, naming the output
            channel as row, and the group, or cannot be stored as `values` says; if it has hooks or
            parametrizations, which a copy of its weight would lose, or pads with anything but
            zeros.
        """
        weight = plain_weight(conv, cls)
        layer = cls._sized_as(conv)
        return layer._take_place_of(conv, Sparse24.from_dense(weight), values)

    def forward(self, input: Tensor, residual: Tensor | None = None) -> Tensor:
        """Convolve: (n, in_channels, h, w) -> (n, out_channels, h', w'), differentiable.

        Where the layer has an activation, that of it, and of what `residual` adds.

        Raises
        ------
        TypeError
            If `input` is no torch.Tensor.
        """
        x = self._checked(input)
        if not interop.is_plain(x):
            return self._traced(x, residual)
        return self._finished(partial(pointwise, geometry=self.geometry), x, residual)

    def _traced(self, input: Tensor, residual: Tensor | None) -> Tensor:
        """Return the same of the layer's own tensors, for where torch must see the call."""
        x = input if input.ndim != 3 else input[None]
        x = pixels(x, self.in_channels, self.geometry)
        is_last = x.stride(1) == 1
        shape = list(self._weight_shape())
        y = calls.layer(
            self._kind,
            x.permute(0, 2, 3, 1),
            self.values,
            [self.metadata],
            shape,
            self.bias,
            self._scale,
        ).permute(0, 3, 1, 2)
        y = y if is_last else y.contiguous(memory_format=torch.contiguous_format)
        return finished(y if input.ndim != 3 else y[0], residual, self.activation)
