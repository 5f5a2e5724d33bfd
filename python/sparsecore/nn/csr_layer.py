"""What CSRLinear and CSRConv2d share: a weight in CSR, which can be prepared for running."""

import copy
from collections.abc import Callable
from typing import Any, Self

import torch
from torch import Tensor

from sparsecore import cuda, interop
from sparsecore.conv import ConvPlan
from sparsecore.formats import CSR
from sparsecore.library import kinds
from sparsecore.library.structures import narrowed
from sparsecore.nn.sparse_layer import SparseLayer
from sparsecore.plan import Plan


class CSRLayer(SparseLayer[CSR]):
    """A layer whose weight is stored as CSR: `values`, `indices`, `indptr`."""

    indices: Tensor
    indptr: Tensor
    _buffer_names = ("indices", "indptr")
    _format = "csr"
    _kind = kinds.CSR
    _plan: Plan | ConvPlan | None = None
    _prepared_for: int | None = None
    _trainable = True

    def _prepared(self, matrix: CSR, n: int | None) -> Plan | ConvPlan:
        """Return the plan of a weight."""
        raise NotImplementedError

    @property
    def _kernel(self) -> str:
        return "per call" if self._plan is None else self._plan.kernel

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
        plan = self._prepared(self.matrix(), n)
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
                values, self.indices, self.indptr = self._parts(self._plan.tocsr())
                self._hold_values(values, trainable=self._trainable)
            self._plan = None
        return self

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Say whether autograd records the parameters; those of `restore_`, too."""
        super().requires_grad_(requires_grad)
        self._trainable = requires_grad
        return self

    def _parts(self, matrix: CSR) -> tuple[Tensor, ...]:
        return matrix.data, narrowed(matrix.indices), narrowed(matrix.indptr)

    def _zeros(self, dtype: torch.dtype | None) -> tuple[Tensor, ...]:
        indptr = torch.zeros(self._weight_shape()[0] + 1, dtype=torch.int8)
        return torch.empty(0, dtype=dtype), torch.empty(0, dtype=torch.int8), indptr

    def _rows_of(self, values: Tensor, *buffers: Tensor) -> Tensor:
        counts = buffers[1].long().diff()
        rows = torch.arange(len(counts), device=values.device)
        return rows.repeat_interleave(counts, output_size=len(values))

    def matrix(self) -> CSR:
        """Return the weight; of a prepared layer, a copy."""
        return super().matrix() if self._plan is None else self._plan.tocsr()

    def _operand(self) -> CSR | Plan | ConvPlan:
        return super().matrix() if self._plan is None else self._plan

    @property
    def nbytes(self) -> int:
        """Bytes of the weight in memory: its tensors and the kernels' structure, or the plan."""
        plan = self._plan
        if plan is None:
            return super().nbytes
        scales = 0 if self._scale is None else self._scale.nbytes
        return plan.nbytes + scales + (plan._structure.nbytes if plan._keeps_structure else 0)

    @property
    def _values_dtype(self) -> torch.dtype:
        dtype: torch.dtype = self.values.dtype if self._plan is None else self._plan.dtype
        return dtype

    def to_dense(self) -> Any:
        """Return a dense layer with the same weight and a copy of the bias."""
        if self._plan is None:
            return super().to_dense()
        return copy.deepcopy(self).restore_().to_dense()

    def extra_repr(self) -> str:
        """Describe the layer as print() shows it."""
        if self._plan is None:
            return super().extra_repr()
        return self._description(self._plan.nnz)

    def _save_to_state_dict(
        self, destination: dict[str, Any], prefix: str, keep_vars: bool
    ) -> None:
        if self._plan is None:
            super()._save_to_state_dict(destination, prefix, keep_vars)
            return
        values, *buffers = self._parts(self._plan.tocsr())
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
        super()._apply(fn, recurse)
        if was_prepared and (self.values.is_cpu or self._has_device_kernels()):
            self.prepare_(self._prepared_for)
        return self

    def _has_device_kernels(self) -> bool:
        return self._runs_on_device and interop.on_device(self.values) and cuda.is_available()

    def _build(self, *tensors: Tensor) -> CSR:
        values, indices, indptr = tensors
        matrix = CSR((values, indices, indptr), shape=self._weight_shape())
        if matrix.data is not values:
            kind = type(self).__name__
            msg = f"{kind}: the columns of a row in indices are not ascending and unique"
            raise ValueError(msg)
        return matrix

    def _make_room(self, incoming: dict[str, Tensor]) -> None:
        device = self.values.device
        if (values := incoming.get("values")) is not None and values.shape != self.values.shape:
            self.values.data = self.values.data.new_empty(values.shape)
        for name in self._buffer_names:
            if (buffer := incoming.get(name)) is not None:
                setattr(self, name, torch.empty_like(narrowed(buffer), device=device))
