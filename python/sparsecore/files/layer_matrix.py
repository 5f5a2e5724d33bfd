"""A sparse layer's weight from the tensors that a checkpoint has of it."""

from collections.abc import Sequence

import numpy as np

from sparsecore.files.checkpoint_header import TENSORS, Layer
from sparsecore.formats import CSR, Sparse24
from sparsecore.interop import VALUE_DTYPES, Array

__all__ = ["layer_matrix"]


def layer_matrix(layer: Layer, arrays: Sequence[Array]) -> CSR | Sparse24:
    """Return a layer's weight from its tensors, in the order of ``layer.tensors``.

    int8 values are multiplied by their scales, in fp64, and rounded to the layer's dtype.

    Raises
    ------
    ValueError, IndexError, TypeError, OverflowError
        Where the tensors are no matrix of the format and shape.
    """
    values, *structure = arrays[: len(TENSORS[layer.format])]
    if (values.dtype == np.int8) != layer.is_scaled and layer.dtype is not None:
        msg = f"its values are {values.dtype}, but it has {'' if layer.is_scaled else 'no '}scales"
        raise ValueError(msg)
    if layer.format == "csr":
        indices, indptr = structure
        matrix: CSR | Sparse24 = CSR((values, indices, indptr), layer.matrix_shape)
    else:
        matrix = Sparse24((values, structure[0]), layer.matrix_shape)
    return _unscaled(matrix, arrays[-1], layer) if layer.is_scaled else matrix


def _unscaled(matrix: CSR | Sparse24, scale: Array, layer: Layer) -> CSR | Sparse24:
    """Return a matrix of codes as one of numbers."""
    dtype = VALUE_DTYPES[str(layer.dtype)]
    rows = layer.matrix_shape[0]
    if scale.shape != (rows,) or scale.dtype != np.float32:
        msg = f"its scale is {scale.dtype} {scale.shape}, expected float32 ({rows},)"
        raise ValueError(msg)
    if not (np.isfinite(scale) & (scale > 0)).all():
        msg = "its scale has a number that is not finite and above 0"
        raise ValueError(msg)
    wide = scale.astype(np.float64)
    if isinstance(matrix, CSR):
        factors = wide.repeat(np.diff(matrix.indptr.astype(np.int64)))
        return matrix.with_data((matrix.data * factors).astype(dtype))
    values = (matrix.values * wide[:, None]).astype(dtype)
    return Sparse24((values, matrix.metadata), matrix.shape)
