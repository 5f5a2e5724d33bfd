"""COO: a value, a row and a column an entry. The format to build and edit a matrix in."""

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, final

import numpy as np

from sparsecore import interop
from sparsecore.formats import arguments, compare, convert, placement, storage
from sparsecore.formats.arguments import IndexLike, ValuesLike
from sparsecore.formats.csr import CSR
from sparsecore.formats.frozen import joined_indices, taken_indices
from sparsecore.formats.storage import Storage
from sparsecore.interop import Array, DTypeLike, Values

if TYPE_CHECKING:
    import scipy.sparse


@final
class COO:
    """A matrix as triplets: entry p holds ``data[p]`` at ``(row[p], col[p])``.

    Entries keep the order they came in, and a coordinate may come more than once: the matrix that
    they stand for has the sum there. Indices are copied into the smallest unsigned width that holds
    them; values stay the caller's array or tensor. Every edit returns a new matrix. With values in
    the memory of a CUDA device everything is there, indices included: tensors have to be on it, and
    sequences are copied to it.

    Parameters
    ----------
    triplets : (data, (row, col))
        (nnz,) values of float64, float32, float16, bfloat16 or int8 (numpy or torch), and two
        (nnz,) integer arrays.
    shape : (m, n)

    Raises
    ------
    TypeError
        Where values are not 1-D or of another dtype, or indices are not integers.
    ValueError
        Where the lengths differ.
    IndexError
        Where an index is outside the shape; names the position.

    Examples
    --------
    >>> import numpy as np
    >>> import sparsecore as sc
    >>> A = sc.COO((np.array([1.0, 2.0, 3.0]), ([0, 1, 0], [2, 0, 2])), shape=(2, 3))
    >>> A
    <COO 2x3, nnz=3 (density 50%), float64, rows uint8, columns uint8, 30 bytes>
    >>> A.toarray()
    array([[0., 0., 4.],
           [2., 0., 0.]])
    """

    __slots__ = ("__weakref__", "_col", "_data", "_row", "_shape")

    _shape: tuple[int, int]
    _data: Values
    _row: Any
    _col: Any

    # numpy then leaves `array @ A` and the like to A, or refuses them, but never densifies.
    __array_ufunc__ = None

    format = "coo"

    def __init__(
        self, triplets: tuple[ValuesLike, tuple[IndexLike, IndexLike]], shape: Sequence[int]
    ) -> None:
        try:
            data, (row, col) = triplets
        except (TypeError, ValueError):
            msg = "COO: expected (data, (row, col))"
            raise TypeError(msg) from None
        sizes = arguments.as_shape(shape, name="COO")
        values = arguments.as_values(data, name="COO: data", ndim=1, device=True)
        rows = arguments.as_int32_or_64(row, name="COO: row", like=values)
        cols = arguments.as_int32_or_64(col, name="COO: col", like=values)
        if not len(values) == len(rows) == len(cols):
            msg = f"COO: data, row and col have lengths {len(values)}, {len(rows)}, {len(cols)}"
            raise ValueError(msg)
        self._shape = sizes
        narrow = convert.maker_of(values).narrow
        self._row = narrow(rows, sizes[0], "COO: row")
        self._col = narrow(cols, sizes[1], "COO: column")
        self._data = interop.read_only(values)

    @classmethod
    def _wrap(cls, shape: tuple[int, int], data: Values, row: Any, col: Any) -> "COO":
        """Put together valid parts; `row` and `col` are in stored widths and immutable."""
        self = object.__new__(cls)
        self._shape = shape
        self._data = interop.read_only(data)
        self._row, self._col = row, col
        return self

    # ---- from and to ----

    @classmethod
    def from_dense(cls, W: ValuesLike) -> "COO":
        """Take the non-zeros of a dense (m, n) matrix, row by row: as `CSR.from_dense` does."""
        return CSR.from_dense(W).tocoo()

    @classmethod
    def from_scipy(cls, matrix: Any) -> "COO":
        """Take any 2-D scipy sparse array or matrix; the values are copied.

        A COO one keeps its order and duplicates; those of others are summed.
        """
        convert.check_scipy(matrix, name="COO.from_scipy: matrix")
        if matrix.format != "coo":
            return CSR.from_scipy(matrix).tocoo()
        return cls((matrix.data.copy(), (matrix.row, matrix.col)), matrix.shape)

    @classmethod
    def from_torch(cls, tensor: Any) -> "COO":
        """Take a strided, sparse_csr or sparse_coo torch tensor, sharing values where it can."""
        name = "COO.from_torch: tensor"
        layouts = ("strided", "sparse_csr", "sparse_coo")
        if convert.require_layout(tensor, *layouts, name=name) != "sparse_coo":
            return CSR.from_torch(tensor).tocoo()
        values, row, col = convert.coo_parts(tensor, name=name)
        return cls((values, (row, col)), tuple(tensor.shape))

    def toarray(self) -> Values:
        """Return the dense (m, n) matrix, duplicates summed; differentiable for torch.

        Raises
        ------
        MemoryError
            Where it has more bytes than can be had.
        """
        convert.check_addressable(self._shape, self._data, name="COO.toarray")
        return self.tocsr().toarray()

    def tocsr(self, duplicates: Literal["sum", "error"] = "sum") -> CSR:
        """Convert to CSR.

        Parameters
        ----------
        duplicates : {"sum", "error"}
            What entries at one coordinate get: they are summed (fp16 and bf16 in fp32), or refused.

        Raises
        ------
        ValueError
            For a duplicate under "error", or where the tensor `data` no longer has nnz values.
        OverflowError
            Where a sum of int8 values does not fit int8.
        """
        arguments.check_shape(self._data, (self.nnz,), name="COO.tocsr: data")
        return CSR._from_triplets(self._data, (self._row, self._col), self._shape, duplicates)

    def tocoo(self) -> "COO":
        """Return the matrix itself."""
        return self

    def to_scipy(self) -> "scipy.sparse.coo_array[Any]":
        """Return a scipy coo_array with a copy of the values and int32 or int64 indices."""
        import scipy.sparse

        if interop.on_device(self._data):
            return self._to_host().to_scipy()
        data = convert.scipy_values(self._data, name="COO.to_scipy")
        largest = max(self._shape)
        position = convert.widen(self._row, largest), convert.widen(self._col, largest)
        return scipy.sparse.coo_array((data, position), shape=self._shape)

    def to_torch(self) -> Any:
        """Return an uncoalesced torch.sparse_coo tensor in the stored order."""
        arguments.check_shape(self._data, (self.nnz,), name="COO.to_torch: data")
        return convert.coo_tensor(self._shape, self._data, self._row, self._col)

    # ---- what it is ----

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns)."""
        return self._shape

    @property
    def data(self) -> Values:
        """(nnz,) values: a read-only view of the numpy array, or the torch tensor itself."""
        return self._data

    @property
    def row(self) -> Any:
        """(nnz,) rows: numpy in stored width, read-only; for torch values an int64 copy."""
        return interop.index_view(self._row, like=self._data)

    @property
    def col(self) -> Any:
        """(nnz,) columns: numpy in stored width, read-only; for torch values an int64 copy."""
        return interop.index_view(self._col, like=self._data)

    @property
    def dtype(self) -> Any:
        """The numpy or torch dtype of the values."""
        return self._data.dtype

    @property
    def nnz(self) -> int:
        """Number of stored entries, duplicates and stored zeros included."""
        return len(self._row)

    @property
    def density(self) -> float:
        """Stored entries per element; 0.0 where there is none; above 1 only with duplicates."""
        return storage.density(self._shape, self.nnz)

    @property
    def sparsity(self) -> float:
        """1 - `density`."""
        return 1.0 - self.density

    @property
    def nbytes(self) -> int:
        """Bytes of values, rows and columns as stored."""
        return int(self._data.nbytes + self._row.nbytes + self._col.nbytes)

    @property
    def device(self) -> Any:
        """The torch.device of the values, or "cpu" for numpy."""
        return interop.device_of(self._data)

    def storage(self) -> Storage:
        """Bytes by part: columns for `col`, row_offsets for `row`."""
        return storage.coo_storage(self._shape, self.nnz, self._data.itemsize)

    # ---- edits: each returns a new matrix ----

    def append(self, data: ValuesLike, position: tuple[IndexLike, IndexLike]) -> "COO":
        """Return the matrix with entries added at the end.

        Parameters
        ----------
        data : (k,) values of this matrix's kind and dtype; a sequence of numbers takes both
        position : (row, col), each (k,) integers

        Examples
        --------
        >>> import sparsecore as sc
        >>> A = sc.COO(([1.0], ([0], [0])), shape=(2, 2)).append([5.0], ([1], [0]))
        >>> A.data.tolist(), A.row.tolist(), A.col.tolist()
        ([1.0, 5.0], [0, 1], [0, 0])
        """
        arguments.check_shape(self._data, (self.nnz,), name="COO.append: the matrix's data")
        name = "COO.append: data"
        more = arguments.as_values(data, name=name, ndim=1, like=self._data, device=True)
        placement.check_same_memory(more, self._data, name=name)
        added = COO((more, position), self._shape)
        return COO._wrap(
            self._shape,
            interop.concatenate(self._data, added._data, name=name),
            joined_indices(self._row, added._row),
            joined_indices(self._col, added._col),
        )

    def drop(self, entries: IndexLike) -> "COO":
        """Return the matrix without some of its entries.

        Parameters
        ----------
        entries : (nnz,) bool, or (k,) integers
            True for each entry to drop (as in numpy.delete; not a mask of what is kept), or the
            positions to drop; negative positions count from the end. In any memory: of a CUDA
            device they are read by the host, which chooses.

        Raises
        ------
        IndexError
            Where a position is outside.
        ValueError
            Where a mask has another length than nnz.

        Examples
        --------
        >>> import sparsecore as sc
        >>> A = sc.COO(([1.0, 0.1, 2.0], ([0, 0, 1], [0, 1, 1])), shape=(2, 2))
        >>> A.drop(A.data < 0.5).data.tolist(), A.drop([0, -1]).data.tolist()
        ([1.0, 2.0], [0.1])
        """
        keep: Any = np.flatnonzero(~self._dropped(entries))
        if interop.on_device(self._data):
            keep = interop.as_tensor(keep, device=self._data.device)
        row, col = (taken_indices(index, keep) for index in (self._row, self._col))
        return COO._wrap(self._shape, interop.take(self._data, keep), row, col)

    def _dropped(self, entries: IndexLike) -> Array:
        tensor = interop.is_tensor(entries)
        if interop.on_device(entries):
            entries, tensor = interop.to_host(entries), False
        array = interop.to_numpy(entries, name="COO.drop") if tensor else np.asarray(entries)
        if array.dtype == np.bool_:
            if array.shape != (self.nnz,):
                msg = f"COO.drop: the mask has shape {array.shape}, the matrix {self.nnz} entries"
                raise ValueError(msg)
            return array
        dropped = np.zeros(self.nnz, dtype=np.bool_)
        dropped[arguments.as_positions(entries, self.nnz, name="COO.drop: position")] = True
        return dropped

    def sum_duplicates(self) -> "COO":
        """Return the canonical matrix: by row, then column, one entry a coordinate.

        Raises
        ------
        OverflowError
            Where a sum of int8 values does not fit int8.
        """
        arguments.check_shape(self._data, (self.nnz,), name="COO.sum_duplicates: data")
        position, data = convert.sum_triplets(self._data, (self._row, self._col), self._shape)
        return COO._wrap(self._shape, data, *position)

    # ---- copies and comparisons ----

    @property
    def T(self) -> "COO":
        """The transpose: the same entries in the same order, rows and columns swapped."""
        return COO._wrap(self._shape[::-1], self._data, self._col, self._row)

    def astype(self, dtype: DTypeLike) -> "COO":
        """Return the matrix with its values cast to `dtype`, as numpy or torch casts them."""
        target = arguments.value_dtype(dtype, name="COO.astype: dtype")
        return self._with(interop.cast(self._data, target))

    def to(self, device: Any) -> "COO":
        """Return the matrix on `device`: "cpu", or a CUDA device, where values are torch's.

        What is there already is shared. Differentiable.

        Raises
        ------
        RuntimeError
            Where the device is none that this sparsecore and this machine have; says why.
        """
        data = placement.moved(self._data, device, name="COO.to")
        row, col = (placement.moved_index(index, data, device) for index in (self._row, self._col))
        return COO._wrap(self._shape, data, row, col)

    def _to_host(self) -> "COO":
        if not interop.on_device(self._data):
            return self
        data = interop.to_host(self._data)
        row, col = (placement.moved_index(index, data, "cpu") for index in (self._row, self._col))
        return COO._wrap(self._shape, data, row, col)

    def copy(self) -> "COO":
        """Return a matrix with its own values; the immutable indices are shared."""
        return self._with(interop.copy_values(self._data))

    def equals(self, other: object) -> bool:
        """Whether `other` is a COO of equal shape, dtype and entries, in the same order.

        NaN equals NaN. Whether numpy or torch holds the values makes no difference.
        """
        if not isinstance(other, COO) or self._shape != other._shape:
            return False
        mine, theirs = self._to_host(), other._to_host()
        return (
            np.array_equal(mine._row, theirs._row)
            and np.array_equal(mine._col, theirs._col)
            and compare.same_values(mine._data, theirs._data)
        )

    def allclose(
        self, other: "COO", *, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
    ) -> bool:
        """Whether two matrices are near each other, element by element, as numpy.allclose says.

        Order, duplicates and stored zeros make no difference.
        """
        if self._shape != other.shape:
            return False
        tolerance = compare.Tolerance(rtol, atol, equal_nan)
        mine, theirs = ((A._data, A._row, A._col) for A in (self._to_host(), other._to_host()))
        return compare.close_triplets(mine, theirs, self._shape, tolerance)

    def check(self) -> None:
        """Validate everything again; raises as the constructor does."""
        COO((self._data, (self._row, self._col)), self._shape)

    def _with(self, data: Values) -> "COO":
        return COO._wrap(self._shape, data, self._row, self._col)

    def __copy__(self) -> "COO":
        """Return a matrix that shares everything."""
        return self._with(self._data)

    def __deepcopy__(self, memo: dict[int, Any]) -> "COO":
        """Return a matrix with its own values; the immutable indices are shared."""
        return self._with(copy.deepcopy(self._data, memo))

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle through the constructor, so that what is loaded is validated."""
        return COO, ((self._data, (self._row, self._col)), self._shape)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        """Refuse: making a matrix dense is asked for by name, ``A.toarray()``."""
        raise storage.array_refusal(self)

    def _repr_html_(self) -> str:
        """Return what a notebook shows: facts, and where the entries are."""
        from sparsecore.html_report.matrix import matrix_html

        return matrix_html(self)

    def __repr__(self) -> str:
        """Return one line: shape, nnz, density, dtype, index widths, bytes."""
        rows, columns = map(placement.stored_dtype, (self._row, self._col))
        widths = f"rows {rows}, columns {columns}"
        return storage.describe("COO", self._shape, self.nnz, self.dtype, widths, self.nbytes)
