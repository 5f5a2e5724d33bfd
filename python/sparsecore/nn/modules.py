"""Linear layers whose weight is sparse: ordinary torch modules with ordinary tensors."""

from typing import Self

from torch import Tensor, nn

from sparsecore import ops
from sparsecore.formats import CSR, Sparse24
from sparsecore.nn.csr_layer import CSRLayer
from sparsecore.nn.fused import finished
from sparsecore.nn.sparse24_layer import Sparse24Layer
from sparsecore.nn.sparse_linear import SparseLinear, plain_weight
from sparsecore.nn.stored_values import StoredValues
from sparsecore.plan import Plan

__all__ = ["CSRLinear", "Sparse24Linear"]


class CSRLinear(CSRLayer, SparseLinear[CSR]):
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
    values : {"bfloat16", "float16", "int8"}, optional
        What the values are stored in, if not in `dtype`.

    Attributes
    ----------
    values : Parameter, (nnz,); a buffer where it is int8, which does not train
        The nonzeros, row by row. Training changes them; the structure stays.
    scale : (out_features,) float32
        Of int8 values only: the factor of each row, ``max|row| / 127``, or 1.
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

    Of a layer with int8 values ``matrix()`` has these; ``to_dense()`` multiplies by `scale`.
    Casting such a layer, or one of halves to float32, leaves them as they are stored. A state
    with int8 values is loaded by a layer that was made with ``values="int8"`` only.

    The kernels run on a private copy of the structure. An edit of a buffer is noticed by its
    version counter, at the next use; one that torch cannot see (through numpy, or by another
    process on shared memory) is not used.

    After ``layer.to("cuda")`` the products run there.

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

    _runs_on_device = True

    def _prepared(self, matrix: CSR, n: int | None) -> Plan:
        return matrix.prepare(n=n, by_rows=True)

    def _traced(self, input: Tensor, residual: Tensor | None) -> Tensor:
        if self._plan is None:
            return super()._traced(input, residual)
        y = ops.linear(input, self._plan, self.bias, scale=self._scale)
        return finished(y, residual, self.activation)

    @classmethod
    def from_dense(cls, linear: nn.Linear, *, values: StoredValues | None = None) -> Self:
        """Drop the exact zeros of a pruned layer.

        Parameters
        ----------
        linear : torch.nn.Linear
            Its weight is copied; its bias becomes this layer's, the same Parameter. Training mode
            and `requires_grad` are kept.
        values : {"bfloat16", "float16", "int8"}, optional
            What to round the nonzeros to, if not the layer's dtype: halves for float32 layers, int8
            with a scale a row for all. Inputs, bias and results keep the layer's dtype.

        Raises
        ------
        TypeError
            If `linear` is no nn.Linear, or its dtype or device has no kernel.
        ValueError
            If it has hooks or parametrizations, which a copy of its weight would lose; or its
            weight cannot be stored as `values` says.

        Examples
        --------
        >>> import torch
        >>> dense = torch.nn.Linear(4, 2)
        >>> with torch.no_grad():
        ...     _ = dense.weight.copy_(torch.tensor([[0.0, 2, 0, 0], [1, 0, 0, 254]]))
        >>> sparse = CSRLinear.from_dense(dense, values="int8")
        >>> sparse.values.tolist(), sparse.to_dense().weight.tolist()
        ([127, 0, 127], [[0.0, 2.0, 0.0, 0.0], [0.0, 0.0, 0.0, 254.0]])
        """
        matrix = CSR.from_dense(plain_weight(linear, cls))
        return cls._in_place_of(linear, matrix, values)


class Sparse24Linear(Sparse24Layer, SparseLinear[Sparse24]):
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
    values : {"bfloat16", "float16", "int8"}, optional
        What the values are stored in, if not in `dtype`; see CSRLinear.

    Attributes
    ----------
    values : Parameter, (out_features, ceil4(in_features) / 2); a buffer where it is int8
        Training changes them; the structure stays.
    scale : (out_features,) float32
        As CSRLinear's.
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

    _runs_on_device = True

    @classmethod
    def from_dense(cls, linear: nn.Linear, *, values: StoredValues | None = None) -> Self:
        """Compress a layer that was pruned to 2:4.

        Parameters
        ----------
        linear : torch.nn.Linear
            Its weight is copied; its bias becomes this layer's, the same Parameter. Training mode
            and `requires_grad` are kept.
        values : {"bfloat16", "float16", "int8"}, optional
            What to round the nonzeros to, if not the layer's dtype: halves for float32 layers, int8
            with a scale a row for all. Inputs, bias and results keep the layer's dtype.

        Raises
        ------
        TypeError
            If `linear` is no nn.Linear, or its dtype or device has no kernel.
        ValueError
            If its weight is not 2:4, naming the row and the group, or cannot be stored as `values`
            says; or if it has hooks or parametrizations, which a copy of its weight would lose.
        """
        matrix = Sparse24.from_dense(plain_weight(linear, cls))
        return cls._in_place_of(linear, matrix, values)
