"""CSR: values and columns row by row. The format that products read."""

import copy
import operator
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, final

import numpy as np

import sparsecore
from sparsecore import interop
from sparsecore.formats import arguments, compare, convert, placement, storage
from sparsecore.formats.arguments import IndexLike, ValuesLike
from sparsecore.formats.placement import Structure
from sparsecore.formats.storage import Storage
from sparsecore.formats.transposed import TransposedCSR, product_from_left
from sparsecore.interop import Array, DTypeLike, Values
from sparsecore.library.handle import Handle, handle_of

if TYPE_CHECKING:
    import scipy.sparse

    from sparsecore.formats.coo import COO
    from sparsecore.plan import Kernel, Plan


@final
class CSR:
    """A matrix as compressed rows.

    Row i holds ``data[p]`` at column ``indices[p]`` for each p from ``indptr[i]`` up to
    ``indptr[i + 1]``. Columns are ascending and unique in each row. The indices are validated once,
    copied into the smallest unsigned widths that hold them, and never change; the caller's arrays
    are not edited. Values stay the caller's array (seen through a read-only view) or the caller's
    tensor, which may be a Parameter. With values in the memory of a CUDA device everything is
    there, indices included: index tensors have to be on it, and sequences are copied to it.

    Parameters
    ----------
    arrays : (data, indices, indptr)
        (nnz,) values of float64, float32, float16, bfloat16 or int8 (numpy or torch), (nnz,)
        integer columns, (m + 1,) integer row offsets. Unsorted rows are sorted in a copy.
    shape : (m, n)
    duplicates : {"error", "sum"}
        What a column that comes twice in a row gets: refused, or summed (fp16 and bf16 in fp32).

    Raises
    ------
    TypeError
        Where values are not 1-D or of another dtype, or indices are not integers.
    ValueError
        Where lengths differ, the offsets do not start at 0, decrease (names the row) or do not end
        at nnz, or a row has a duplicate.
    IndexError
        Where a column is outside the shape; names row and position.

    Examples
    --------
    >>> import numpy as np
    >>> import sparsecore as sc
    >>> W = np.array([[0., 3, 0, 7], [0, 0, 8, 0], [2, 5, 0, 0], [0, 0, 0, 9]])
    >>> A = sc.CSR.from_dense(W)
    >>> A
    <CSR 4x4, nnz=6 (density 37.5%), float64, columns uint8, offsets uint8, 59 bytes>
    >>> A.data.tolist(), A.indices.tolist(), A.indptr.tolist()
    ([3.0, 7.0, 8.0, 2.0, 5.0, 9.0], [1, 3, 2, 0, 1, 3], [0, 2, 3, 5, 6])
    """

    __slots__ = ("__weakref__", "_data", "_handle", "_structure")

    _structure: Structure
    _data: Values
    _handle: Handle | None

    # numpy then leaves `X @ A` to A.__rmatmul__.
    __array_ufunc__ = None

    format = "csr"

    def __init__(
        self,
        arrays: tuple[ValuesLike, IndexLike, IndexLike],
        shape: Sequence[int],
        *,
        duplicates: Literal["error", "sum"] = "error",
    ) -> None:
        try:
            data, indices, indptr = arrays
        except (TypeError, ValueError):
            msg = "CSR: expected (data, indices, indptr); a dense matrix goes to CSR.from_dense"
            raise TypeError(msg) from None
        sizes = arguments.as_shape(shape, name="CSR")
        values = arguments.as_values(data, name="CSR: data", ndim=1, device=True)
        columns = arguments.as_indices(indices, name="CSR: indices", like=values)
        offsets = arguments.as_indices(indptr, name="CSR: indptr", like=values)
        if len(values) != len(columns):
            msg = f"CSR: data has length {len(values)}, indices {len(columns)}"
            raise ValueError(msg)
        from_arrays = convert.maker_of(values).csr_from_arrays
        build = partial(from_arrays, offsets, columns, sizes, duplicates)
        self._structure, values = convert.canonical(build, values, name="CSR: data")
        self._data = interop.read_only(values)
        self._handle = _handle_of(self._structure, values)

    @classmethod
    def _wrap(cls, structure: Structure, data: Values, handle: Handle | None = None) -> "CSR":
        """Put together a validated structure and values that are known to fit it.

        `handle` is the structure's, where it has one.
        """
        self = object.__new__(cls)
        self._structure = structure
        self._data = interop.read_only(data)
        self._handle = handle or _handle_of(structure, data)
        return self

    @classmethod
    def _from_triplets(
        cls,
        data: Values,
        position: tuple[Any, Any],
        shape: tuple[int, int],
        duplicates: Literal["sum", "error"],
    ) -> "CSR":
        build = partial(convert.maker_of(data).csr_from_triplets, *position, shape, duplicates)
        return cls._wrap(*convert.canonical(build, data, name="COO.tocsr: data"))

    # ---- from and to ----

    @classmethod
    def from_dense(cls, W: ValuesLike) -> "CSR":
        """Take the non-zeros of a dense matrix.

        Parameters
        ----------
        W : (m, n) numpy array or torch tensor, in any memory order
            NaN is a non-zero, -0.0 a zero. Where `W` requires grad, the values are a differentiable
            gather of it.
        """
        name = "CSR.from_dense: W"
        W = convert.dense_values(W, name=name, device=True)
        return cls._wrap(*convert.nonzeros(W, name=name))

    @classmethod
    def from_scipy(cls, matrix: Any) -> "CSR":
        """Take any 2-D scipy sparse array or matrix, duplicates summed; the values are copied."""
        convert.check_scipy(matrix, name="CSR.from_scipy: matrix")
        # scipy's compiled conversions trust the indices: those that can be edited are checked here.
        if matrix.format == "csr":
            return cls(convert.compressed_parts(matrix), matrix.shape, duplicates="sum")
        if matrix.format == "csc":
            parts, shape = convert.compressed_parts(matrix), matrix.shape[::-1]
            return cls(parts, shape, duplicates="sum").T.tocsr()
        from sparsecore.formats.coo import COO

        return COO.from_scipy(matrix.tocoo()).tocsr()

    @classmethod
    def from_torch(cls, tensor: Any) -> "CSR":
        """Take a strided, sparse_csr or sparse_coo torch tensor; differentiable.

        A strided tensor gives up its zeros; sparse ones keep what they store, duplicates summed.
        """
        name = "CSR.from_torch: tensor"
        layout = convert.require_layout(tensor, "strided", "sparse_csr", "sparse_coo", name=name)
        if layout == "strided":
            return cls.from_dense(tensor)
        shape = tuple(tensor.shape)
        if layout == "sparse_coo":
            from sparsecore.formats.coo import COO

            values, row, col = convert.coo_parts(tensor, name=name)
            return COO((values, (row, col)), shape).tocsr()
        arrays = tensor.values(), tensor.col_indices(), tensor.crow_indices()
        return cls(arrays, shape, duplicates="sum")

    def toarray(self) -> Values:
        """Return the dense (m, n) matrix; differentiable for torch.

        Raises
        ------
        MemoryError
            Where it has more bytes than can be had.
        ValueError
            Where the tensor `data` no longer has nnz values.
        """
        convert.check_addressable(self.shape, self._data, name="CSR.toarray")
        arguments.check_shape(self._data, (self.nnz,), name="CSR.toarray: data")
        return convert.scatter_dense(self._structure, self._data)

    def tocoo(self) -> "COO":
        """Convert to COO, entries in canonical order; values are shared."""
        from sparsecore.formats.coo import COO

        arguments.check_shape(self._data, (self.nnz,), name="CSR.tocoo: data")
        rows, maker = self._structure.row_ids(), convert.maker_of(self._data)
        row = maker.narrow(rows, self.shape[0], "CSR.tocoo: row")
        return COO._wrap(self.shape, self._data, row, self._structure.indices)

    def tocsr(self) -> "CSR":
        """Return the matrix itself."""
        return self

    def to_scipy(self) -> "scipy.sparse.csr_array[Any]":
        """Return a scipy csr_array with a copy of the values and int32 or int64 indices."""
        import scipy.sparse

        if interop.on_device(self._data):
            return self._to_host().to_scipy()
        data = convert.scipy_values(self._data, name="CSR.to_scipy")
        largest = max(*self.shape, self.nnz)
        columns = convert.widen(self._structure.indices, largest)
        offsets = convert.widen(self._structure.indptr, largest)
        return scipy.sparse.csr_array((data, columns, offsets), shape=self.shape)

    def to_torch(self) -> Any:
        """Return a torch.sparse_csr tensor with int64 indices; torch values are shared."""
        arguments.check_shape(self._data, (self.nnz,), name="CSR.to_torch: data")
        return convert.csr_tensor(self._structure, self._data)

    # ---- what it is ----

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns)."""
        shape: tuple[int, int] = self._structure.shape
        return shape

    @property
    def data(self) -> Values:
        """(nnz,) values: a read-only view of the numpy array, or the torch tensor itself."""
        return self._data

    @property
    def indices(self) -> Any:
        """(nnz,) columns: numpy in stored width, read-only; for torch values an int64 copy."""
        return interop.index_view(self._structure.indices, like=self._data)

    @property
    def indptr(self) -> Any:
        """(m + 1,) row offsets: numpy in stored width, read-only; for torch an int64 copy."""
        return interop.index_view(self._structure.indptr, like=self._data)

    @property
    def dtype(self) -> Any:
        """The numpy or torch dtype of the values."""
        return self._data.dtype

    @property
    def nnz(self) -> int:
        """Number of stored entries, stored zeros included."""
        nnz: int = self._structure.nnz
        return nnz

    @property
    def density(self) -> float:
        """Stored entries per element; 0.0 for a matrix without elements."""
        return storage.density(self.shape, self.nnz)

    @property
    def sparsity(self) -> float:
        """1 - `density`."""
        return 1.0 - self.density

    @property
    def nbytes(self) -> int:
        """Bytes of values, columns and row offsets as stored."""
        structure = self._structure
        return int(self._data.nbytes + structure.indices.nbytes + structure.indptr.nbytes)

    @property
    def device(self) -> Any:
        """The torch.device of the values, or "cpu" for numpy."""
        return interop.device_of(self._data)

    def storage(self) -> Storage:
        """Bytes by part, beside those of the dense matrix."""
        return storage.csr_storage(self.shape, self.nnz, self._data.itemsize)

    # ---- reading rows ----

    def row(self, i: int) -> tuple[Any, Values]:
        """Return columns (int64) and values of row `i`; a negative `i` counts from the end.

        Examples
        --------
        >>> import sparsecore as sc
        >>> A = sc.CSR(([3.0, 7.0, 8.0], [1, 3, 2], [0, 2, 3]), shape=(2, 4))
        >>> cols, vals = A.row(0)
        >>> cols.tolist(), vals.tolist()
        ([1, 3], [3.0, 7.0])
        """
        m, index = self.shape[0], operator.index(i)
        if not -m <= index < m:
            msg = f"CSR.row: row {index} is outside [{-m}, {m})"
            raise IndexError(msg)
        index %= m
        begin, end = self._structure.row_bounds(index)
        columns = self._structure.row_columns(index)
        if not interop.is_tensor(columns):
            columns = interop.from_numpy(columns, like=self._data)
        return columns, self._data[begin:end]

    def gather_rows(self, row_ids: IndexLike) -> "CSR":
        """Return the matrix whose row j is row ``row_ids[j]`` of this one; differentiable.

        Parameters
        ----------
        row_ids : (r,) integers
            In any order, repeated or not; negative ones count from the end. For a matrix on a CUDA
            device on that device, or a sequence, which is copied to it.
        """
        rows = arguments.as_indices(row_ids, name="CSR.gather_rows: row", like=self._data)
        gather = partial(self._structure.gather_rows, rows)
        return CSR._wrap(*convert.canonical(gather, self._data, name="CSR.gather_rows: data"))

    # ---- products ----

    @property
    def T(self) -> TransposedCSR:
        """The transpose, as a lazy view: products with it run the transposed kernel."""
        return TransposedCSR(self)

    def __matmul__(self, X: ValuesLike) -> Values:
        """Return ``A @ X`` by `sparsecore.csr_matmul`."""
        return sparsecore.csr_matmul(self, X)

    def __rmatmul__(self, X: ValuesLike) -> Values:
        """Return ``X @ A``."""
        return product_from_left(X, self.T)

    def prepare(
        self,
        *,
        n: int | None = None,
        backward: bool = False,
        kernel: "Kernel | None" = None,
        by_rows: bool = False,
    ) -> "Plan":
        """Pack the matrix for many products: see `sparsecore.plan.prepare`."""
        from sparsecore.plan import prepare

        return prepare(self, n=n, backward=backward, kernel=kernel, by_rows=by_rows)

    # ---- copies and comparisons ----

    def with_data(self, data: ValuesLike) -> "CSR":
        """Return a matrix with the same structure and other values; the structure is shared.

        Raises
        ------
        ValueError
            Where `data` does not have nnz values.
        """
        name = "CSR.with_data: data"
        values = arguments.as_values(data, name=name, ndim=1, like=self._data, device=True)
        placement.check_same_memory(values, self._data, name=name)
        # Of a handle while torch traces, which cannot look into the structure.
        count = self.nnz if self._handle is None else self._handle.sizes[2]
        if len(values) != count:
            msg = f"{name} has length {len(values)}, the matrix {count} entries"
            raise ValueError(msg)
        return CSR._wrap(self._structure, values, self._handle)

    def astype(self, dtype: DTypeLike) -> "CSR":
        """Return the matrix with its values cast to `dtype`, as numpy or torch casts them."""
        target = arguments.value_dtype(dtype, name="CSR.astype: dtype")
        return CSR._wrap(self._structure, interop.cast(self._data, target), self._handle)

    def to(self, device: Any) -> "CSR":
        """Return the matrix on `device`: "cpu", or a CUDA device, where values are torch's.

        What is there already is shared. Differentiable.

        Raises
        ------
        RuntimeError
            Where the device is none that this sparsecore and this machine have; says why.
        """
        data = placement.moved(self._data, device, name="CSR.to")
        return CSR._wrap(placement.moved_structure(self._structure, data, device), data)

    def _to_host(self) -> "CSR":
        data = interop.to_host(self._data)
        return CSR._wrap(placement.moved_structure(self._structure, data, "cpu"), data)

    def copy(self) -> "CSR":
        """Return a matrix with its own values; the immutable structure is shared."""
        return CSR._wrap(self._structure, interop.copy_values(self._data), self._handle)

    def same_structure(self, other: "CSR") -> bool:
        """Whether two matrices have the same shape and store the same positions."""
        mine, theirs = self._structure, other._structure
        return mine is theirs or placement.same_structure(mine, theirs)

    def equals(self, other: object) -> bool:
        """Whether `other` is a CSR of equal shape, dtype, structure and values.

        NaN equals NaN. Whether numpy or torch holds the values makes no difference.
        """
        return (
            isinstance(other, CSR)
            and self.same_structure(other)
            and compare.same_values(self._data, other._data)
        )

    def allclose(
        self, other: "CSR", *, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
    ) -> bool:
        """Whether two matrices are near each other, element by element, as numpy.allclose says.

        Stored zeros make no difference.
        """
        if self.same_structure(other):
            tolerance = compare.Tolerance(rtol, atol, equal_nan)
            return tolerance.holds(self._data, other._data)
        return self.tocoo().allclose(other.tocoo(), rtol=rtol, atol=atol, equal_nan=equal_nan)

    def check(self) -> None:
        """Validate everything again; raises as the constructor does."""
        self._structure.check()
        self.with_data(self._data)

    def __copy__(self) -> "CSR":
        """Return a matrix that shares everything."""
        return CSR._wrap(self._structure, self._data)

    def __deepcopy__(self, memo: dict[int, Any]) -> "CSR":
        """Return a matrix with its own values; the immutable indices are shared."""
        return CSR._wrap(self._structure, copy.deepcopy(self._data, memo))

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle through the constructor, so that what is loaded is validated."""
        structure = self._structure
        indices = structure.indices, structure.indptr
        if not interop.on_device(self._data):
            indices = np.array(structure.indices), np.array(structure.indptr)
        return CSR, ((self._data, *indices), self.shape)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        """Refuse: making a matrix dense is asked for by name, ``A.toarray()``."""
        raise storage.array_refusal(self)

    def _repr_html_(self) -> str:
        """Return what a notebook shows: facts, and where the entries are."""
        from sparsecore.html_report.matrix import matrix_html

        return matrix_html(self)

    def __repr__(self) -> str:
        """Return one line: shape, nnz, density, dtype, index widths, bytes."""
        structure = self._structure
        columns, offsets = map(placement.stored_dtype, (structure.indices, structure.indptr))
        widths = f"columns {columns}, offsets {offsets}"
        return storage.describe("CSR", self.shape, self.nnz, self.dtype, widths, self.nbytes)


def _handle_of(structure: Structure, data: Values) -> Handle | None:
    return handle_of(structure, (*structure.shape, structure.nnz), like=data)
