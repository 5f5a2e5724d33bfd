"""What 2:4 layers share: a weight in 2:4."""

import torch
from torch import Tensor

from sparsecore.cuda.structure24 import DeviceSparse24
from sparsecore.formats import Sparse24
from sparsecore.library import kinds
from sparsecore.nn.sparse_layer import SparseLayer


class Sparse24Layer(SparseLayer[Sparse24]):
    """A layer whose weight is stored as 2:4: `values`, `metadata`."""

    metadata: Tensor
    _buffer_names = ("metadata",)
    _format = "2:4"
    _kind = kinds.SPARSE24

    @property
    def _kernel(self) -> str:
        held = self._held
        structure = None if held is None else held.matrix._structure
        return (structure.kernel if isinstance(structure, DeviceSparse24) else "") or "sparse24"

    def _zeros(self, dtype: torch.dtype | None) -> tuple[Tensor, ...]:
        rows, columns = self._weight_shape()
        row = Sparse24.from_dense(torch.zeros(1, columns, dtype=dtype))
        return row.values.repeat(rows, 1), row.metadata.repeat(rows, 1)

    def _parts(self, matrix: Sparse24) -> tuple[Tensor, ...]:
        return matrix.values, matrix.metadata

    def _rows_of(self, values: Tensor, *buffers: Tensor) -> Tensor:  # noqa: ARG002 - of CSR
        return torch.arange(len(values), device=values.device)[:, None].expand(values.shape)

    def _build(self, *tensors: Tensor) -> Sparse24:
        values, metadata = tensors
        return Sparse24((values, metadata), shape=self._weight_shape())
