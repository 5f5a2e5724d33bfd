"""What CSRLinear and Sparse24Linear share."""

from typing import Self

import torch
from torch import Tensor, nn

from sparsecore import interop, ops
from sparsecore.library import calls
from sparsecore.nn.fused import FusedLinear, finished
from sparsecore.nn.held import Matrix
from sparsecore.nn.layers import obstacle
from sparsecore.nn.sparse_layer import SparseLayer
from sparsecore.nn.stored_values import StoredValues


class SparseLinear(SparseLayer[Matrix]):
    """A linear layer whose weight is a sparse matrix."""

    in_features: int
    out_features: int

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        dtype: torch.dtype | None = None,
        values: StoredValues | None = None,
    ) -> None:
        super().__init__()
        self.in_features = in_features
        self.out_features = out_features
        self._hold(values, *self._zeros(dtype))
        zeros = nn.Parameter(torch.zeros(out_features, dtype=dtype))
        self.register_parameter("bias", zeros if bias else None)

    def _weight_shape(self) -> tuple[int, int]:
        return (self.out_features, self.in_features)

    def _sizes(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}"

    @classmethod
    def _in_place_of(cls, linear: nn.Linear, matrix: Matrix, values: StoredValues | None) -> Self:
        layer = cls(linear.in_features, linear.out_features, bias=False)
        trainable = linear.weight.requires_grad
        layer._hold(values, *layer._parts(matrix), trainable=trainable)
        layer.bias = linear.bias
        layer.activation = getattr(linear, "activation", None)
        layer.fused = isinstance(linear, FusedLinear)
        return layer.train(linear.training)

    def to_dense(self) -> nn.Linear:
        """Return an nn.Linear with the same weight and a copy of the bias."""
        with torch.no_grad():
            # skip_init: drawing initial weights would move the generator of the caller.
            linear: nn.Linear = nn.utils.skip_init(  # type: ignore[no-untyped-call]
                nn.Linear, self.in_features, self.out_features, bias=self.bias is not None
            )
            linear.weight = nn.Parameter(self._dense_weight(), self.values.requires_grad)
            if self.bias is not None:
                linear.bias = nn.Parameter(self.bias.clone(), self.bias.requires_grad)
        return linear.train(self.training)

    def forward(self, input: Tensor, residual: Tensor | None = None) -> Tensor:
        """Return ``x W^T + b``: (..., in_features) -> (..., out_features), differentiable.

        Where the layer has an activation, that of it, and of what `residual` adds.

        Raises
        ------
        TypeError
            If `input` is no torch.Tensor.
        """
        x = self._checked(input)
        if not interop.is_plain(x):
            return self._traced(x, residual)
        return self._finished(ops.linear, x, residual)

    def _traced(self, input: Tensor, residual: Tensor | None) -> Tensor:
        """Return the same of the layer's own tensors, for where torch must see the call."""
        buffers = [getattr(self, name) for name in self._buffer_names]
        shape = list(self._weight_shape())
        y = calls.layer(self._kind, input, self.values, buffers, shape, self.bias, self._scale)
        return finished(y, residual, self.activation)


def plain_weight(linear: object, cls: type[nn.Module]) -> Tensor:
    """Return the weight of `linear`, refusing what a copy of it would not stand for."""
    if not isinstance(linear, nn.Linear):
        msg = f"{cls.__name__}.from_dense: linear is a {type(linear).__name__}, expected nn.Linear"
        raise TypeError(msg)
    reason = obstacle(linear)
    if reason is not None:
        msg = f"{cls.__name__}.from_dense: {reason}"
        raise ValueError(msg)
    return linear.weight.detach()
