"""Linear layers whose weight is sparse: ordinary torch modules with ordinary tensors."""

from typing import Any, Self

import torch
from torch import Tensor, nn

from sparsecore import ops
from sparsecore.formats import CSR, Sparse24
from sparsecore.nn import held
from sparsecore.nn.layers import obstacle

__all__ = ["CSRLinear", "Sparse24Linear"]


class CSRLinear(nn.Module):
    """A linear layer, ``y = x W^T + b``, whose weight W is stored as CSR; ``matrix()`` returns W.

    Built by :meth:`from_dense`; the constructor makes a layer without nonzeros, to be filled by
    ``load_state_dict``, which takes any number of nonzeros.

    Parameters
    ----------
    in_features, out_features : int
        Columns and rows of the weight.
    bias : bool
        Whether to add a learnt bias.
    dtype : torch.dtype, optional
        Of values and bias; torch's default dtype if not given.

    Attributes
    ----------
    values : Parameter, (nnz,)
        The nonzeros, row by row. Training changes them; the structure stays.
    indices : (nnz,) signed integers
        Their columns, ascending in each row.
    indptr : (out_features + 1,) signed integers
        Where each row starts in `values`.
    bias : Parameter, (out_features,), or None

    Notes
    -----
    `indices` and `indptr` take the narrowest of int8, int16, int32 and int64 that holds them:
    int64 columns would be two thirds of an fp32 layer's bytes. Signed, because torch has few
    operations on uint16 and uint32 and reads a uint8 index as a mask.

    The kernels run on a private copy of the structure. An edit of a buffer is noticed by its
    version counter, at the next use; one that torch cannot see (through numpy, or by another
    process on shared memory) is not used.

    Examples
    --------
    >>> import torch
    >>> dense = torch.nn.Linear(4, 2)
    >>> with torch.no_grad():
    ...     _ = dense.weight.copy_(torch.tensor([[0.0, 2.0, 0.0, 0.0], [1.0, 0.0, 0.0, 3.0]]))
    >>> sparse = CSRLinear.from_dense(dense)
    >>> sparse.values.tolist(), sparse.indices.tolist(), sparse.indptr.tolist()
    ([2.0, 1.0, 3.0], [1, 0, 3], [0, 1, 3])
    >>> x = torch.ones(5, 4)
    >>> torch.allclose(sparse(x), dense(x))
    True
    """

    values: nn.Parameter
    indices: Tensor
    indptr: Tensor
    bias: nn.Parameter | None
    _held: held.Held[CSR] | None

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.in_features = in_features
        self.out_features = out_features
        self.values = nn.Parameter(torch.empty(0, dtype=dtype))
        self.register_buffer("indices", torch.empty(0, dtype=torch.int8))
        self.register_buffer("indptr", torch.zeros(out_features + 1, dtype=torch.int8))
        zeros = nn.Parameter(torch.zeros(out_features, dtype=dtype))
        self.register_parameter("bias", zeros if bias else None)
        self._held = None

    @classmethod
    def from_dense(cls, linear: nn.Linear) -> Self:
        """Drop the exact zeros of a pruned layer.

        Parameters
        ----------
        linear : torch.nn.Linear
            Its weight is copied; its bias becomes this layer's, the same Parameter. Training mode
            and `requires_grad` are kept.

        Raises
        ------
        TypeError
            If `linear` is no nn.Linear, or its dtype or device has no kernel.
        ValueError
            If it has hooks or parametrizations, which a copy of its weight would lose.
        """
        _require_plain(linear, cls)
        matrix = CSR.from_dense(linear.weight.detach())
        layer = cls(linear.in_features, linear.out_features, bias=False)
        layer.values = nn.Parameter(matrix.data, requires_grad=linear.weight.requires_grad)
        layer.indices = held.narrow(matrix.indices)
        layer.indptr = held.narrow(matrix.indptr)
        layer.bias = linear.bias
        return layer.train(linear.training)

    def to_dense(self) -> nn.Linear:
        """Return an nn.Linear with the same weight and a copy of the bias."""
        return held.to_dense_linear(self, self.matrix())

    def matrix(self) -> CSR:
        """Return the weight, (out_features, in_features), as the kernels see it now.

        Raises
        ------
        ValueError, IndexError, TypeError
            If a buffer was edited into something that is not a CSR matrix of this shape.
        RuntimeError
            If the layer is not on the CPU.
        """
        tensors = (self.values, self.indices, self.indptr)
        now = held.refreshed(self._held, held.build_csr, _shape(self), *tensors)
        if now is not self._held:  # Module.__setattr__ costs more than the rest
            self._held = now
        return now.matrix

    def forward(self, input: Tensor) -> Tensor:
        """Return ``x W^T + b``: (..., in_features) -> (..., out_features), differentiable.

        Raises
        ------
        TypeError
            If `input` is no torch.Tensor.
        """
        if not isinstance(input, Tensor):
            raise TypeError(_no_tensor(self, input))
        y: Tensor = ops.linear(input, self.matrix(), self.bias)
        return y

    @property
    def nbytes(self) -> int:
        """Bytes of the weight in memory: its tensors and, once used, the kernels' structure."""
        return held.weight_bytes(self, self.indices, self.indptr)

    def extra_repr(self) -> str:
        """Describe the layer as print() shows it."""
        return held.describe(self, "csr", "row_sweep", self.nbytes)

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *arguments: Any
    ) -> None:
        errors: list[str] = arguments[-1]
        names = ("values", "indices", "indptr")
        try:
            values, indices, indptr = held.incoming(self, state_dict, prefix, names)
            # Before anything is copied: a column copied into narrower integers would wrap.
            held.build_csr(values, indices, indptr, _shape(self))
        except (ValueError, IndexError, TypeError, RuntimeError) as error:
            errors.append(f"{prefix}{{{','.join(names)}}}: {error}")
            return
        if values.shape != self.values.shape:
            self.values.data = self.values.data.new_empty(values.shape)
        for name, buffer in (("indices", indices), ("indptr", indptr)):
            if prefix + name in state_dict:
                room = torch.empty_like(held.narrow(buffer), device=self.values.device)
                setattr(self, name, room)
        super()._load_from_state_dict(state_dict, prefix, *arguments)

    def __getstate__(self) -> dict[str, Any]:
        """Leave the kernels' copy behind: pickle and deepcopy make it again from the buffers."""
        return {**self.__dict__, "_held": None}


class Sparse24Linear(nn.Module):
    """A linear layer, ``y = x W^T + b``, whose weight W is stored as 2:4; ``matrix()`` returns W.

    Of every four neighbours in a row two are kept, with two bits each that say which
    (`sparsecore.Sparse24` has the layout). Built by :meth:`from_dense`; the constructor makes a
    layer of zeros, to be filled by ``load_state_dict``.

    Parameters
    ----------
    in_features, out_features : int
        Columns and rows of the weight.
    bias : bool
        Whether to add a learnt bias.
    dtype : torch.dtype, optional
        Of values and bias; torch's default dtype if not given.

    Attributes
    ----------
    values : Parameter, (out_features, ceil4(in_features) / 2)
        Training changes them; the structure stays.
    metadata : uint8, (out_features, ceil8(in_features) / 8)
        One nibble for each group of four. Edits are noticed as those of CSRLinear's buffers are.
    bias : Parameter, (out_features,), or None

    Examples
    --------
    >>> import torch
    >>> dense = torch.nn.Linear(8, 1, bias=False)
    >>> with torch.no_grad():
    ...     _ = dense.weight.copy_(torch.tensor([[0.0, 2, 0, 5, 7, 0, 0, 1]]))
    >>> sparse = Sparse24Linear.from_dense(dense)
    >>> sparse.values.tolist(), [f"{byte:#x}" for byte in sparse.metadata.flatten()]
    ([[2.0, 5.0, 7.0, 1.0]], ['0xcd'])
    """

    values: nn.Parameter
    metadata: Tensor
    bias: nn.Parameter | None
    _held: held.Held[Sparse24] | None

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.in_features = in_features
        self.out_features = out_features
        row = Sparse24.from_dense(torch.zeros(1, in_features, dtype=dtype))
        self.values = nn.Parameter(row.values.repeat(out_features, 1))
        self.register_buffer("metadata", row.metadata.repeat(out_features, 1))
        zeros = nn.Parameter(torch.zeros(out_features, dtype=dtype))
        self.register_parameter("bias", zeros if bias else None)
        self._held = None

    @classmethod
    def from_dense(cls, linear: nn.Linear) -> Self:
        """Compress a layer that was pruned to 2:4.

        Parameters
        ----------
        linear : torch.nn.Linear
            Its weight is copied; its bias becomes this layer's, the same Parameter. Training mode
            and `requires_grad` are kept.

        Raises
        ------
        TypeError
            If `linear` is no nn.Linear, or its dtype or device has no kernel.
        ValueError
            If its weight is not 2:4, naming the row and the group; or if it has hooks or
            parametrizations, which a copy of its weight would lose.
        """
        _require_plain(linear, cls)
        matrix = Sparse24.from_dense(linear.weight.detach())
        layer = cls(linear.in_features, linear.out_features, bias=False)
        layer.values = nn.Parameter(matrix.values, requires_grad=linear.weight.requires_grad)
        layer.metadata = matrix.metadata
        layer.bias = linear.bias
        return layer.train(linear.training)

    def to_dense(self) -> nn.Linear:
        """Return an nn.Linear with the same weight and a copy of the bias."""
        return held.to_dense_linear(self, self.matrix())

    def matrix(self) -> Sparse24:
        """Return the weight, (out_features, in_features), as the kernels see it now.

        Raises
        ------
        ValueError, TypeError
            If a buffer was edited into something that is not a 2:4 matrix of this shape.
        RuntimeError
            If the layer is not on the CPU.
        """
        tensors = (self.values, self.metadata)
        now = held.refreshed(self._held, held.build_sparse24, _shape(self), *tensors)
        if now is not self._held:  # Module.__setattr__ costs more than the rest
            self._held = now
        return now.matrix

    def forward(self, input: Tensor) -> Tensor:
        """Return ``x W^T + b``: (..., in_features) -> (..., out_features), differentiable.

        Raises
        ------
        TypeError
            If `input` is no torch.Tensor.
        """
        if not isinstance(input, Tensor):
            raise TypeError(_no_tensor(self, input))
        y: Tensor = ops.linear(input, self.matrix(), self.bias)
        return y

    @property
    def nbytes(self) -> int:
        """Bytes of the weight in memory: its tensors and, once used, the kernels' structure."""
        return held.weight_bytes(self, self.metadata)

    def extra_repr(self) -> str:
        """Describe the layer as print() shows it."""
        return held.describe(self, "2:4", "sparse24", self.nbytes)

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *arguments: Any
    ) -> None:
        errors: list[str] = arguments[-1]
        names = ("values", "metadata")
        try:
            values, metadata = held.incoming(self, state_dict, prefix, names)
            # Before anything is copied: wider integers copied into bytes would wrap.
            held.build_sparse24(values, metadata, _shape(self))
        except (ValueError, IndexError, TypeError, RuntimeError) as error:
            errors.append(f"{prefix}{{{','.join(names)}}}: {error}")
            return
        super()._load_from_state_dict(state_dict, prefix, *arguments)

    def __getstate__(self) -> dict[str, Any]:
        """Leave the kernels' copy behind: pickle and deepcopy make it again from the buffers."""
        return {**self.__dict__, "_held": None}


def _shape(layer: CSRLinear | Sparse24Linear) -> tuple[int, int]:
    return layer.out_features, layer.in_features


def _no_tensor(layer: nn.Module, input: object) -> str:
    kind = f"{type(input).__module__}.{type(input).__qualname__}"
    return f"{type(layer).__name__}: input is a {kind}, expected a torch.Tensor"


def _require_plain(linear: object, cls: type[nn.Module]) -> None:
    """Refuse what a copy of the weight would not stand for."""
    if not isinstance(linear, nn.Linear):
        msg = f"{cls.__name__}.from_dense: linear is a {type(linear).__name__}, expected nn.Linear"
        raise TypeError(msg)
    reason = obstacle(linear)
    if reason is not None:
        msg = f"{cls.__name__}.from_dense: {reason}"
        raise ValueError(msg)
