"""Plans: matrices made ready for many products."""

from typing import Any, Literal, TypeAlias, final

import numpy as np

import sparsecore
from sparsecore import _core, interop
from sparsecore.cuda.plan import KERNELS, DeviceKernel, DevicePlan, choose_kernel
from sparsecore.cuda.structure import DeviceStructure
from sparsecore.formats import arguments
from sparsecore.formats.csr import CSR
from sparsecore.interop import Values
from sparsecore.library.handle import handle_of
from sparsecore.threads import get_num_threads

Kernel: TypeAlias = Literal["block_permute", "packed_sweep", "row_sweep"] | DeviceKernel


@final
class Plan:
    """A CSR matrix made ready for many products, by `CSR.prepare`.

    It works wherever the matrix does (`csr_matmul`, `linear`, `csr_sddmm`, ``@``) and holds a
    snapshot of the values: what happens to ``A.data`` later does not reach it until `update`.
    Gradients pass through to X, not to the values.

    Examples
    --------
    >>> import numpy as np
    >>> import sparsecore as sc
    >>> P = sc.CSR.from_dense(np.array([[0.0, 2.0], [1.0, 0.0]])).prepare()
    >>> P @ np.array([1.0, 10.0])
    array([20.,  1.])
    >>> P.kernel
    'row_sweep'
    """

    __slots__ = ("__weakref__", "_handle", "_like", "_options", "_plan", "_version")

    __array_ufunc__ = None

    format = "plan"

    def __init__(
        self,
        A: CSR,
        columns: int = -1,
        backward: bool = False,
        kernel: str = "",
        by_rows: bool = False,
    ) -> None:
        self._plan = _packed(A, columns, backward, kernel, by_rows)
        self._options = (columns, backward, kernel, by_rows)  # for copies, which are made anew
        self._version = 0  # counts updates, for backward passes to notice one in between
        # An empty piece of the values: remembers their kind, dtype and device, not their memory.
        self._like = interop.copy_values(
            A.data[:0].detach() if interop.is_tensor(A.data) else A.data[:0]
        )
        self._handle = handle_of(self, (*self.shape, self.nnz), like=self._like)

    @property
    def _structure(self) -> _core.CsrStructure | DeviceStructure:
        return self._plan.structure

    @property
    def _keeps_structure(self) -> bool:
        return self._plan.keeps_structure

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns)."""
        return self._plan.shape

    @property
    def dtype(self) -> Any:
        """The numpy or torch dtype of the values."""
        return self._like.dtype

    @property
    def nnz(self) -> int:
        """Number of stored entries."""
        return self._plan.nnz

    @property
    def device(self) -> Any:
        """The torch.device of the values, or "cpu" for numpy."""
        return interop.device_of(self._like)

    @property
    def kernel(self) -> str:
        """Name of the kernel that products run."""
        return self._plan.kernel

    @property
    def nbytes(self) -> int:
        """Bytes that the plan holds; a structure that it shares with its CSR is left out.

        A packed int8 plan holds more once it has multiplied an int8 X: several entries at once.
        """
        return self._plan.nbytes

    def update(self, data: Values) -> None:
        """Replace the values; products already running keep those they started with.

        Parameters
        ----------
        data : (nnz,) array or tensor of the plan's dtype, in CSR order

        Raises
        ------
        ValueError
            Where the length differs.
        TypeError
            Where the dtype or the device differs.
        """
        if isinstance(self._plan, DevicePlan):
            arguments.check_like(data, self._like, name="Plan.update: data")
            arguments.check_shape(data, (self.nnz,), name="Plan.update: data")
            self._plan.update(data)
        else:
            values = interop.to_numpy(data, name="Plan.update: data")
            arguments.check_shape(values, (self.nnz,), name="Plan.update: data")
            self._plan.update(values, get_num_threads())
        self._version += 1
        if self._handle is not None:
            self._handle.changed()

    def unpack(self) -> Values:
        """Return the values in CSR order, in memory of their own."""
        if isinstance(self._plan, DevicePlan):
            return self._plan.unpack()
        return interop.from_numpy(self._plan.unpack(get_num_threads()), like=self._like)

    def tocsr(self) -> CSR:
        """Return the matrix in CSR, its values a copy."""
        return CSR._wrap(self._structure, self.unpack())

    def __matmul__(self, X: Any) -> Values:
        """Return ``P @ X`` by `sparsecore.csr_matmul`."""
        return sparsecore.csr_matmul(self, X)

    def __rmatmul__(self, X: Any) -> Values:
        """Return ``X @ P`` by the transposed kernel."""
        from sparsecore.ops import matmul

        X = X if interop.is_tensor(X) else np.asarray(X)
        if X.ndim != 2:
            return matmul(self, X, transposed=True)
        return matmul(self, X.T, transposed=True).T

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle and copy by way of the CSR: a plan's own layout is never saved."""
        return Plan, (self.tocsr(), *self._options)

    def _repr_html_(self) -> str:
        """Return what a notebook shows: facts and the kernel."""
        from sparsecore.html_report.matrix import plan_html

        return plan_html(self)

    def __repr__(self) -> str:
        """Return one line: shape, nnz, dtype, kernel, bytes."""
        m, n = self.shape
        return (
            f"<Plan {m}x{n}, nnz={self.nnz}, {interop.numpy_dtype(self.dtype)}, "
            f"kernel {self.kernel}, {self.nbytes} bytes>"
        )


def _packed(
    A: CSR, columns: int, backward: bool, kernel: str, by_rows: bool
) -> _core.Plan | DevicePlan:
    """Return the matrix as its products read it, on its device."""
    structure = A._structure
    if isinstance(structure, DeviceStructure):
        if kernel not in ("", *KERNELS):
            among = ", ".join(map(repr, KERNELS))
            msg = f"prepare: kernel is {kernel!r}, expected None or {among} on {str(A.device)!r}"
            raise ValueError(msg)
        arguments.check_shape(A.data, (A.nnz,), name="prepare: A.data")
        chosen: Any = kernel or choose_kernel(structure, A.dtype, columns)
        return DevicePlan(structure, A.data, backward=backward, kernel=chosen)
    data = interop.to_numpy(A.data, name="prepare: A.data")
    return _core.prepare_csr(structure, data, columns, backward, by_rows, kernel, get_num_threads())


def prepare(
    A: CSR,
    *,
    n: int | None = None,
    backward: bool = False,
    kernel: Kernel | None = None,
    by_rows: bool = False,
) -> Plan:
    """Make a plan of a matrix, for many products.

    Parameters
    ----------
    A : CSR
    n : int, optional
        The number of right-hand columns expected, as a hint; many, where it is not given. A plan
        for one column (with AVX-512 for up to seven, or three of a matrix sparser than 92 %; fp64
        apart) lays sixteen rows side by side, 5 to 9 bytes an fp32 entry, where there are 64 rows,
        8 entries a row and a column, and no rows far longer than others. One for more packs the
        matrix, 6 bytes, where it has 64 entries a row (with AVX-512 40 for 16 to 64 columns) and 8
        a column; one for 4 or 8 columns, or one or two vectors of them, where its rows are a
        multiple of four. Else the plan keeps CSR's own order. Every kind serves every number.
    backward : bool
        Whether transposed products (``A.T @ X``, the gradient of X) will be run too: the plan then
        holds a second one, of the transpose. Without it they transpose or scatter in each call.
    kernel : {"block_permute", "packed_sweep", "row_sweep"}, optional
        Instead of the one that suits `n`: for whoever measures, or wants less memory. On a CUDA
        device (none was measured, the choice is by bytes, then by instructions): "rows" reads CSR's
        own order, and so does "merge", for up to eight columns, in equal shares however long rows
        are (choosing between them waits for the device once); for fp16 and bf16 and `n` of up to 32
        there are values in the order of tensor cores, with masks ("bitmap", 0.15 bytes a position
        and 2 an entry) or with steps of 4 or 8 bits from one to the next ("delta4", "delta8", 2.5
        or 3 an entry). By name only: "tf32" multiplies fp32 on tensor cores with operands of 10
        bits of mantissa (2^-11 of each product), "3xtf32" with three such products for each
        (2^-21).
    by_rows : bool
        Whether products will be layers', by `sparsecore.linear`: x and the result hold a right-hand
        column a row. For two columns and more the matrix is then always packed.
    """
    if n is not None and (isinstance(n, bool) or not isinstance(n, int | np.integer)):
        msg = f"prepare: n is a {type(n).__name__}, expected an integer"
        raise TypeError(msg)
    if n is not None and n < 0:
        msg = f"prepare: n is {n}, expected the number of right-hand columns"
        raise ValueError(msg)
    if not isinstance(backward, bool):
        msg = f"prepare: backward is {backward!r}, expected True or False"
        raise TypeError(msg)
    if not isinstance(by_rows, bool):
        msg = f"prepare: by_rows is {by_rows!r}, expected True or False"
        raise TypeError(msg)
    return Plan(A, -1 if n is None else int(n), backward, kernel or "", by_rows)
