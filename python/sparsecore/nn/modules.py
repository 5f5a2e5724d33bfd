"""Linear layers whose weight is sparse: ordinary torch modules with ordinary tensors."""

import copy
from collections.abc import Callable
from typing import Any, Self

import torch
from torch import Tensor, nn

from sparsecore import ops
from sparsecore.formats import CSR, Sparse24
from sparsecore.library import kinds
from sparsecore.library.structures import narrowed
from sparsecore.nn.sparse_linear import SparseLinear, plain_weight
from sparsecore.plan import Plan

__all__ = ["CSRLinear", "Sparse24Linear"]


class CSRLinear(SparseLinear[CSR]):
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

    indices: Tensor
    indptr: Tensor
    _buffer_names = ("indices", "indptr")
    _format = "csr"
    _kind = kinds.CSR
    _plan: Plan | None = None
    _prepared_for: int | None = None
    _trainable = True

    @property
    def _kernel(self) -> str:
        return "per call" if self._plan is None else self._plan.kernel

    def _zeros(self, dtype: torch.dtype | None) -> tuple[Tensor, ...]:
        indptr = torch.zeros(self.out_features + 1, dtype=torch.int8)
        return torch.empty(0, dtype=dtype), torch.empty(0, dtype=torch.int8), indptr

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
        matrix = CSR.from_dense(plain_weight(linear, cls))
        indices, indptr = narrowed(matrix.indices), narrowed(matrix.indptr)
        return cls._in_place_of(linear, matrix.data, indices, indptr)

    # ---- prepared for running ----

    def prepare_(self, n: int | None = None) -> Self:
        """Keep the weight in a plan only, for running: faster, and one copy of the values.

        `values`, `indices` and `indptr` are None until `restore_`; ``state_dict()`` makes them
        again. The layer cannot be trained meanwhile; gradients reach its input and its bias.

        Parameters
        ----------
        n : int, optional
            Rows of the inputs expected, as in `CSR.prepare`.
        """
        plan = self.matrix().prepare(n=n)
        if self._plan is None:
            self._trainable = self.values.requires_grad
        self._plan, self._prepared_for = plan, n
        self.values = self.indices = self.indptr = None  # type: ignore[assignment]
        self._held = None
        return self

    def restore_(self) -> Self:
        """Undo `prepare_`: the weight becomes tensors again, for an optimizer made afterwards."""
        if self._plan is not None:
            with torch.inference_mode(False):
                values, self.indices, self.indptr = self._unpacked(self._plan)
                self.values = nn.Parameter(values, requires_grad=self._trainable)
            self._plan = None
        return self

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Say whether autograd records the parameters; those of `restore_`, too."""
        super().requires_grad_(requires_grad)
        self._trainable = requires_grad
        return self

    def _unpacked(self, plan: Plan) -> tuple[Tensor, Tensor, Tensor]:
        matrix = plan.tocsr()
        return matrix.data, narrowed(matrix.indices), narrowed(matrix.indptr)

    def matrix(self) -> CSR:
        """Return the weight; of a prepared layer, a copy."""
        return super().matrix() if self._plan is None else self._plan.tocsr()

    def _operand(self) -> CSR | Plan:
        return super().matrix() if self._plan is None else self._plan

    def _traced(self, input: Tensor) -> Tensor:
        if self._plan is None:
            return super()._traced(input)
        y: Tensor = ops.linear(input, self._plan, self.bias)
        return y

    @property
    def nbytes(self) -> int:
        """Bytes of the weight in memory: its tensors and the kernels' structure, or the plan."""
        plan = self._plan
        if plan is None:
            return super().nbytes
        return plan.nbytes + (plan._structure.nbytes if plan._plan.keeps_structure else 0)

    def to_dense(self) -> nn.Linear:
        """Return an nn.Linear with the same weight and a copy of the bias."""
        if self._plan is None:
            return super().to_dense()
        return copy.deepcopy(self).restore_().to_dense()

    def extra_repr(self) -> str:
        """Describe the layer as print() shows it."""
        if self._plan is None:
            return super().extra_repr()
        return self._description(self._plan.nnz, self._plan.dtype)

    def _save_to_state_dict(
        self, destination: dict[str, Any], prefix: str, keep_vars: bool
    ) -> None:
        if self._plan is None:
            super()._save_to_state_dict(destination, prefix, keep_vars)
            return
        values, *buffers = self._unpacked(self._plan)
        destination[prefix + "values"] = values
        super()._save_to_state_dict(destination, prefix, keep_vars)
        for name, tensor in zip(self._buffer_names, buffers, strict=True):
            destination[prefix + name] = tensor

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *arguments: Any
    ) -> None:
        was_prepared = self._plan is not None
        self.restore_()
        super()._load_from_state_dict(state_dict, prefix, *arguments)
        if was_prepared:
            self.prepare_(self._prepared_for)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        was_prepared = self._plan is not None
        self.restore_()
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        if was_prepared and self.values.is_cpu:
            self.prepare_(self._prepared_for)
        return self

    def _build(self, *tensors: Tensor) -> CSR:
        values, indices, indptr = tensors
        matrix = CSR((values, indices, indptr), shape=(self.out_features, self.in_features))
        if matrix.data is not values:
            msg = "CSRLinear: the columns of a row in indices are not ascending and unique"
            raise ValueError(msg)
        return matrix

    def _make_room(self, incoming: dict[str, Tensor]) -> None:
        device = self.values.device
        if (values := incoming.get("values")) is not None and values.shape != self.values.shape:
            self.values.data = self.values.data.new_empty(values.shape)
        for name in self._buffer_names:
            if (buffer := incoming.get(name)) is not None:
                setattr(self, name, torch.empty_like(narrowed(buffer), device=device))


class Sparse24Linear(SparseLinear[Sparse24]):
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

    metadata: Tensor
    _buffer_names = ("metadata",)
    _format = "2:4"
    _kind = kinds.SPARSE24

    @property
    def _kernel(self) -> str:
        return "sparse24"

    def _zeros(self, dtype: torch.dtype | None) -> tuple[Tensor, ...]:
        row = Sparse24.from_dense(torch.zeros(1, self.in_features, dtype=dtype))
        rows = self.out_features
        return row.values.repeat(rows, 1), row.metadata.repeat(rows, 1)

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
        matrix = Sparse24.from_dense(plain_weight(linear, cls))
        return cls._in_place_of(linear, matrix.values, matrix.metadata)

    def _build(self, *tensors: Tensor) -> Sparse24:
        values, metadata = tensors
        return Sparse24((values, metadata), shape=(self.out_features, self.in_features))
