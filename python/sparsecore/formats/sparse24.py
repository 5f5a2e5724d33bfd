"""2:4: two stored values in each group of four columns, and two bits for the place of each."""

import copy
from collections.abc import Sequence
from typing import Any, final

import numpy as np

from sparsecore import _core, interop
from sparsecore.formats import arguments, compare, convert, placement, storage
from sparsecore.formats.arguments import ValuesLike
from sparsecore.formats.placement import Structure
from sparsecore.formats.storage import Storage
from sparsecore.interop import Array, DTypeLike, Values
from sparsecore.library.handle import Handle, handle_of
from sparsecore.threads import get_num_threads


@final
class Sparse24:
    """A matrix with at most two non-zeros in each group of four neighbours in a row.

    Group g of a row holds ``values[2 * g]`` and ``values[2 * g + 1]``; their places in the group
    are a nibble of `metadata`, ``idx0 | idx1 << 2`` with ``idx0 < idx1``, two groups a byte, the
    earlier one in the low half. Read little-endian, these bytes equal what torch's
    ``sparse_semi_structured_from_dense_cutlass`` has before its re-ordering. Where k is not a
    multiple of 8, the last groups are padded; the padding is never seen.

    Parameters
    ----------
    arrays : (values, metadata)
        (m, 2 * ceil(k / 4)) values of float64, float32, float16, bfloat16, int8, float8_e4m3fn or
        float8_e5m2 (numpy or torch; numpy's 8-bit floats are those of ml_dtypes), and
        (m, ceil(k / 8)) uint8. A slot beyond column k - 1 must hold 0. Values of a CUDA device have
        their metadata there.
    shape : (m, k)

    Raises
    ------
    TypeError
        Where values or metadata have another dtype, are not 2-D, or lie in two memories.
    ValueError
        Where shapes do not fit, a nibble does not ascend (names row and group), or a slot beyond
        the last column holds a value.

    Examples
    --------
    >>> import numpy as np
    >>> import sparsecore as sc
    >>> W = np.array([[1, 0, 0, 2, 0, 3, 4, 0]], dtype=np.float32)
    >>> S = sc.Sparse24.from_dense(W)
    >>> S.values.tolist(), hex(S.metadata[0, 0])
    ([[1.0, 2.0, 3.0, 4.0]], '0x9c')
    >>> S
    <Sparse24 1x8, nnz=4 (density 50%), float32, metadata uint8, 17 bytes>
    """

    __slots__ = ("__weakref__", "_handle", "_structure", "_values")

    _structure: Structure
    _values: Values
    _handle: Handle | None

    # numpy then never densifies a matrix by itself.
    __array_ufunc__ = None

    format = "sparse24"

    def __init__(self, arrays: tuple[ValuesLike, Any], shape: Sequence[int]) -> None:
        try:
            values, metadata = arrays
        except (TypeError, ValueError):
            msg = "Sparse24: expected (values, metadata); a dense matrix goes to from_dense"
            raise TypeError(msg) from None
        m, k = arguments.as_shape(shape, name="Sparse24")
        values = arguments.as_values(
            values, name="Sparse24: values", ndim=2, device=True, float8=True
        )
        arguments.check_shape(values, (m, -(-k // 4) * 2), name="Sparse24: values")
        structure = _structure_of(values, metadata, (m, k))
        self._structure = structure
        self._values = interop.read_only(values)
        self._handle = _handle_of(structure, values)

    @classmethod
    def _wrap(
        cls, structure: Structure, values: Values, handle: Handle | None = None
    ) -> "Sparse24":
        """Put together a validated structure and values that are known to fit it.

        `handle` is the structure's, where it has one.
        """
        self = object.__new__(cls)
        self._structure = structure
        self._values = interop.read_only(values)
        self._handle = handle or _handle_of(structure, values)
        return self

    # ---- from and to ----

    @classmethod
    def from_dense(cls, W: ValuesLike, prune: bool = False) -> "Sparse24":
        """Compress a dense 2:4 matrix.

        Parameters
        ----------
        W : (m, k) numpy array or torch tensor, in any memory order
            -0.0 is a zero, NaN is none. Where `W` requires grad, the values are a differentiable
            gather of it. On a CUDA device, the matrix is there, too.
        prune : bool
            Keep the two largest magnitudes of each group first, as `sparsecore.prune_24` does:
            NaN is the largest, ties keep the lower column.

        Raises
        ------
        ValueError
            Where `W` is not 2:4 and `prune` is False; names row and group.
        """
        W = convert.dense_values(W, name="Sparse24.from_dense: W", device=True, float8=True)
        if prune and convert.tracks_gradient(W):
            W = _pruned(W)
        structure, values = _compressed(W, prune)
        if convert.tracks_gradient(W):
            return cls._wrap(structure, _gather(structure, W))
        return cls._wrap(structure, values)

    def toarray(self) -> Values:
        """Return the dense (m, k) matrix; differentiable for torch.

        Raises
        ------
        MemoryError
            Where it has more bytes than can be had.
        ValueError
            Where the tensor `values` no longer has its shape.
        """
        m, k = self.shape
        convert.check_addressable((m, k), self._values, name="Sparse24.toarray")
        arguments.check_shape(self._values, (m, -(-k // 4) * 2), name="Sparse24.toarray: values")
        values = self._values
        is_recorded = convert.tracks_gradient(values)
        if not interop.is_tensor(values) or (interop.on_device(values) and not is_recorded):
            return self._structure.to_dense(values)
        wide = _wide(values)
        column = _columns(self._structure, values)
        dense = wide.new_zeros((m, -(-k // 4) * 4)).scatter(1, column, wide)[:, :k]
        return dense.to(values.dtype)

    # ---- what it is ----

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns)."""
        shape: tuple[int, int] = self._structure.shape
        return shape

    @property
    def values(self) -> Values:
        """(m, 2 * ceil(k / 4)) values: a read-only view of the numpy array, or the torch tensor."""
        return self._values

    @property
    def metadata(self) -> Any:
        """(m, ceil(k / 8)) uint8: numpy, read-only; for torch values a copy."""
        metadata = self._structure.metadata
        if interop.is_tensor(metadata):
            return metadata.clone()
        return interop.from_numpy(metadata, like=self._values)

    @property
    def dtype(self) -> Any:
        """The numpy or torch dtype of the values."""
        return self._values.dtype

    @property
    def nnz(self) -> int:
        """Number of stored values, stored zeros included, padding not."""
        k = self.shape[1]
        if k % 4 == 0:
            return self.shape[0] * (k // 2)
        return int((self._structure.column_ids() < k).sum())

    @property
    def density(self) -> float:
        """Stored values per element; 0.0 for a matrix without elements."""
        return storage.density(self.shape, self.nnz)

    @property
    def sparsity(self) -> float:
        """1 - `density`."""
        return 1.0 - self.density

    @property
    def nbytes(self) -> int:
        """Bytes of values and metadata as stored."""
        return int(self._values.nbytes + self._structure.metadata.nbytes)

    @property
    def device(self) -> Any:
        """The torch.device of the values, or "cpu" for numpy."""
        return interop.device_of(self._values)

    def storage(self) -> Storage:
        """Bytes by part: `columns` stands for the metadata."""
        return storage.sparse24_storage(self.shape, self._values.itemsize)

    # ---- products ----

    def __matmul__(self, X: ValuesLike) -> Values:
        """Return ``S @ X`` by `sparsecore.sparse24_matmul`."""
        from sparsecore.ops import sparse24_matmul

        return sparse24_matmul(self, X)

    def __rmatmul__(self, X: ValuesLike) -> Values:
        """Return ``X @ S``: by the slots as CSR, which are made once."""
        from sparsecore.ops import matmul

        X = X if interop.is_tensor(X) else np.asarray(X)
        if X.ndim != 2:
            return matmul(self, X, transposed=True)
        return matmul(self, X.T, transposed=True).T

    # ---- copies and comparisons ----

    def astype(self, dtype: DTypeLike) -> "Sparse24":
        """Return the matrix with its values cast to `dtype`, as numpy or torch casts them."""
        target = arguments.value_dtype(dtype, name="Sparse24.astype: dtype", float8=True)
        return Sparse24._wrap(self._structure, interop.cast(self._values, target), self._handle)

    def with_data(self, data: ValuesLike) -> "Sparse24":
        """Return a matrix with the same structure and other values; the structure is shared.

        Slots past the last column take no part in anything, whatever `data` holds there.

        Raises
        ------
        ValueError
            Where `data` has not the shape of `values`.
        TypeError
            Where its dtype is not one of values, or it lies in another memory.
        """
        name = "Sparse24.with_data: data"
        values = arguments.as_values(
            data, name=name, ndim=2, like=self._values, device=True, float8=True
        )
        placement.check_same_memory(values, self._values, name=name)
        arguments.check_shape(values, tuple(self._values.shape), name=name)
        return Sparse24._wrap(self._structure, values, self._handle)

    def to(self, device: Any) -> "Sparse24":
        """Return the matrix on `device`: "cpu", or a CUDA device, where values are torch's.

        What is there already is shared. Differentiable.

        Raises
        ------
        RuntimeError
            Where the device is none that this sparsecore and this machine have; says why.
        """
        values = placement.moved(self._values, device, name="Sparse24.to")
        return Sparse24._wrap(placement.moved_structure(self._structure, values, device), values)

    def copy(self) -> "Sparse24":
        """Return a matrix with its own values; the immutable structure is shared."""
        return Sparse24._wrap(self._structure, interop.copy_values(self._values), self._handle)

    def equals(self, other: object) -> bool:
        """Whether `other` is a Sparse24 of equal shape, dtype, metadata and values.

        NaN equals NaN. Whether numpy or torch holds the values makes no difference.
        """
        return (
            isinstance(other, Sparse24)
            and placement.same_structure(self._structure, other._structure)
            and compare.same_values(self._values, other._values)
        )

    def allclose(
        self, other: "Sparse24", *, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
    ) -> bool:
        """Whether two matrices are near each other, element by element, as numpy.allclose says.

        Which zeros are stored makes no difference.
        """
        if self.shape != other.shape:
            return False
        tolerance = compare.Tolerance(rtol, atol, equal_nan)
        if placement.same_structure(self._structure, other._structure):
            return tolerance.holds(self._values, other._values)
        return tolerance.holds(self.toarray(), other.toarray())

    def check(self) -> None:
        """Validate everything again; raises as the constructor does."""
        Sparse24((self._values, self._structure.metadata), self.shape)

    def __copy__(self) -> "Sparse24":
        """Return a matrix that shares everything."""
        return Sparse24._wrap(self._structure, self._values)

    def __deepcopy__(self, memo: dict[int, Any]) -> "Sparse24":
        """Return a matrix with its own values; the immutable indices are shared."""
        return Sparse24._wrap(self._structure, copy.deepcopy(self._values, memo))

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle through the constructor, so that what is loaded is validated."""
        metadata = self._structure.metadata
        copied = metadata.clone() if interop.is_tensor(metadata) else np.array(metadata)
        return Sparse24, ((self._values, copied), self.shape)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        """Refuse: making a matrix dense is asked for by name, ``A.toarray()``."""
        raise storage.array_refusal(self)

    def _repr_html_(self) -> str:
        """Return what a notebook shows: facts, and where the entries are."""
        from sparsecore.html_report.matrix import matrix_html

        return matrix_html(self)

    def __repr__(self) -> str:
        """Return one line: shape, nnz, density, dtype, index width, bytes."""
        return storage.describe(
            "Sparse24", self.shape, self.nnz, self.dtype, "metadata uint8", self.nbytes
        )


def _structure_of(values: Values, metadata: Any, shape: tuple[int, int]) -> Structure:
    """Return the structure of metadata that fit values of the right shape; else raise."""
    expected = shape[0], -(-shape[1] // 8)
    if not interop.on_device(values):
        structure = _core.Sparse24Structure(metadata_bytes(metadata, expected), shape)
        _check_padding(structure, values)
        return structure
    from sparsecore.cuda import structure24
    from sparsecore.cuda.structure import refuse

    name = "Sparse24: metadata"
    metadata = interop.as_met(metadata)
    placement.check_same_memory(metadata, values, name=name)
    _check_bytes(metadata, expected, name=name)
    made = structure24.checked(metadata, shape, values)
    if made is None:
        host = interop.to_host(values), interop.to_host(metadata)
        refuse(lambda: _structure_of(*host, shape))
    return made


def metadata_bytes(metadata: Any, expected: tuple[int, int]) -> Array:
    """Return metadata as a C-ordered uint8 array of the expected shape."""
    tensor = interop.is_tensor(metadata)
    name = "Sparse24: metadata"
    array = interop.to_numpy(metadata, name=name) if tensor else np.asarray(metadata)
    _check_bytes(array, expected, name=name)
    return np.ascontiguousarray(array)


def _check_bytes(metadata: Any, expected: tuple[int, int], *, name: str) -> None:
    dtype = str(metadata.dtype).removeprefix("torch.")
    if dtype != "uint8" or metadata.ndim != 2:
        msg = f"{name} is {metadata.ndim}-D of dtype {dtype}, expected 2-D uint8"
        raise TypeError(msg)
    arguments.check_shape(metadata, expected, name=name)


def _check_padding(structure: _core.Sparse24Structure, values: Values) -> None:
    """Raise ValueError where a slot that points past the last column does not hold 0."""
    k = structure.shape[1]
    if k % 4 == 0:
        return
    array = interop.to_numpy(values, name="Sparse24: values")
    bad = (structure.column_ids() >= k) & (array != 0)
    if bad.any():
        row, slot = (int(axis[0]) for axis in np.nonzero(bad))
        msg = (
            f"Sparse24: values[{row}, {slot}] is {array[row, slot]} in a slot past the last of "
            f"{k} columns, expected 0"
        )
        raise ValueError(msg)


def _compressed(W: Values, prune: bool) -> tuple[Structure, Values]:
    if interop.on_device(W):
        from sparsecore.cuda import structure24

        return structure24.compress_24(W, prune)
    array = interop.to_numpy(W, name="Sparse24.from_dense: W")
    structure, values = _core.compress_24(array, prune, get_num_threads())
    return structure, interop.from_numpy(values, like=W)


def _pruned(W: Values) -> Values:
    """Return a tensor, all but the two largest magnitudes of each group at 0; differentiable."""
    if interop.on_device(W):
        from sparsecore.cuda import structure24

        mask = structure24.prune_24(W)
        return _wide(W).masked_fill(~mask, 0).to(W.dtype)
    array = interop.to_numpy(W, name="Sparse24.from_dense: W")
    mask = _core.prune_24(array, get_num_threads())
    kept = _wide(W).masked_fill(interop.as_tensor(~mask, device=W.device), 0)
    return kept.to(W.dtype)


def _columns(structure: Structure, like: Values) -> Any:
    """Return the int64 columns of the slots as a tensor of the device of `like`."""
    ids = structure.column_ids()
    return ids if interop.is_tensor(ids) else interop.as_tensor(ids, device=like.device)


def _gather(structure: Structure, W: Values) -> Values:
    """Return the values of a tensor `W` in the slots of `structure`; differentiable.

    Slots past the last column get 0. A slot of an under-full group points at a zero of `W`: adding
    +0.0 turns a -0.0 there into the +0.0 that compression pads with, and lets the gradient pass.
    """
    k = structure.shape[1]
    column = _columns(structure, W)
    values = _wide(W).gather(1, column.clamp(max=k - 1)) + 0.0
    return values.masked_fill(column >= k, 0).to(W.dtype)


def _wide(values: Values) -> Values:
    """Return a tensor as torch's indexing takes it: of 8-bit floats, the same numbers in fp16."""
    return values.to(interop.import_torch().float16) if interop.is_float8(values.dtype) else values


def _handle_of(structure: Structure, values: Values) -> Handle | None:
    return handle_of(structure, (*structure.shape, *values.shape), like=values)
