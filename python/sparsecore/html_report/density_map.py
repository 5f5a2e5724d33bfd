"""Where the entries of a weight are: counts in the cells of a grid, and in its rows."""

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from sparsecore import interop
from sparsecore.formats import COO, CSR, Sparse24

__all__ = ["MOST_CELLS", "DensityMap", "density_map"]

# On each side: a page shows no more, and the picture of a larger weight stays small.
MOST_CELLS = 256

Counts: TypeAlias = npt.NDArray[np.int64]
Weight: TypeAlias = CSR | COO | Sparse24 | Any
"""A matrix of this package, or whatever is an array: numpy's or torch's."""


@dataclass(frozen=True, slots=True)
class DensityMap:
    """Entries of a weight, counted.

    Attributes
    ----------
    shape : (int, int)
        Of the weight as a matrix.
    cells : (height, width) int64
        Entries in each cell; at most `MOST_CELLS` a side, each cell one weight where it fits.
    sizes : (height, width) int64
        Weights in each cell.
    rows : (rows,) int64
        Entries in each row.
    """

    shape: tuple[int, int]
    cells: Counts
    sizes: Counts
    rows: Counts

    @property
    def nnz(self) -> int:
        """Entries of the weight."""
        return int(self.rows.sum())

    @property
    def is_exact(self) -> bool:
        """Whether each cell is one weight."""
        return self.cells.shape == self.shape

    @property
    def densities(self) -> npt.NDArray[np.float64]:
        """Entries a weight in each cell, in [0, 1]; more where a COO matrix has duplicates."""
        return self.cells / np.maximum(self.sizes, 1)


def density_map(weight: Weight) -> DensityMap:
    """Count the entries of a weight.

    Parameters
    ----------
    weight : CSR, COO, Sparse24, or array or tensor of two or more dimensions
        Entries of CSR and COO are what is stored, of others what is not zero. Dimensions after the
        first are taken together: a convolution's weight is (out_channels, everything else).

    Returns
    -------
    DensityMap

    Raises
    ------
    ValueError
        If an array has fewer than two dimensions.

    Examples
    --------
    >>> import numpy as np
    >>> found = density_map(np.array([[0.0, 2.0, 3.0], [0.0, 0.0, 4.0]]))
    >>> found.cells.tolist(), found.rows.tolist(), found.is_exact
    ([[0, 1, 1], [0, 0, 1]], [2, 1], True)
    """
    match weight:
        case CSR():
            host = _on_host(weight)
            offsets = np.asarray(host.indptr).astype(np.int64)
            rows = np.repeat(np.arange(weight.shape[0]), np.diff(offsets))
            return _of_positions(weight.shape, rows, np.asarray(host.indices))
        case COO():
            host = _on_host(weight)
            return _of_positions(weight.shape, np.asarray(host.row), np.asarray(host.col))
        case Sparse24():
            return _of_dense(interop.to_numpy(_on_host(weight).toarray(), name="density_map"))
    if interop.on_device(weight):
        return _of_dense(interop.to_host(weight))
    return _of_dense(interop.to_numpy(weight, name="density_map: weight"))


def _on_host(matrix: Any) -> Any:
    return matrix if str(matrix.device) == "cpu" else matrix.to("cpu")


def _of_positions(shape: tuple[int, int], rows: Any, columns: Any) -> DensityMap:
    height, width = (min(side, MOST_CELLS) for side in shape)
    flat = _cell(rows, shape[0], height) * width + _cell(columns, shape[1], width)
    cells = np.bincount(flat, minlength=height * width).reshape(height, width)
    return DensityMap(shape, cells, _sizes(shape), np.bincount(rows, minlength=shape[0]))


def _of_dense(array: Any) -> DensityMap:
    if array.ndim < 2:
        msg = f"density_map: weight has {array.ndim} dimensions, expected two or more"
        raise ValueError(msg)
    shape = array.shape[0], int(np.prod(array.shape[1:]))
    matrix = array.reshape(shape)
    height, width = (min(side, MOST_CELLS) for side in shape)
    cells = np.zeros((height, width), np.int64)
    rows = np.zeros(shape[0], np.int64)
    if matrix.size:
        edges, starts = _starts(shape[0], height), _starts(shape[1], width)
        for cell, (first, after) in enumerate(zip(edges, [*edges[1:], shape[0]], strict=True)):
            is_entry = matrix[first:after] != 0
            rows[first:after] = np.count_nonzero(is_entry, axis=1)
            cells[cell] = np.add.reduceat(is_entry.sum(axis=0, dtype=np.int64), starts)
    return DensityMap(shape, cells, _sizes(shape), rows)


# ---- the grid: weight i of n is in cell i * cells // n ----


def _cell(positions: Any, side: int, cells: int) -> Counts:
    scaled: Counts = positions.astype(np.int64) * cells // max(side, 1)
    return scaled


def _starts(side: int, cells: int) -> list[int]:
    return [-(-cell * side // cells) for cell in range(cells)]


def _sizes(shape: tuple[int, int]) -> Counts:
    heights, widths = (
        np.diff([*_starts(side, min(side, MOST_CELLS)), side]).astype(np.int64) for side in shape
    )
    return np.multiply.outer(heights, widths)
