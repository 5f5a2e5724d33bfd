"""The lazy transpose of a CSR matrix."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from sparsecore import interop
from sparsecore.formats import arguments, convert, storage
from sparsecore.interop import Array, Values

if TYPE_CHECKING:
    from sparsecore.formats.csr import CSR


@dataclass(frozen=True, slots=True)
class TransposedCSR:
    """``A.T`` without moving anything: products with it run the transposed kernel on `base`.

    Gradients of such products still reach ``A.data``.

    Attributes
    ----------
    base : CSR
        The (m, n) matrix that this one, (n, m), is the transpose of.

    Examples
    --------
    >>> import numpy as np
    >>> import sparsecore as sc
    >>> A = sc.CSR(([3.0, 7.0, 8.0], [1, 3, 2], [0, 2, 3]), shape=(2, 4))
    >>> A.T @ np.array([1.0, 10.0])
    array([ 0.,  3., 80.,  7.])
    """

    base: "CSR"

    __array_ufunc__: ClassVar[None] = None

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns)."""
        m, n = self.base.shape
        return n, m

    @property
    def dtype(self) -> Any:
        """The numpy or torch dtype of the values."""
        return self.base.dtype

    @property
    def nnz(self) -> int:
        """Number of stored entries."""
        return self.base.nnz

    @property
    def device(self) -> Any:
        """The torch.device of the values, or "cpu" for numpy."""
        return self.base.device

    @property
    def T(self) -> "CSR":
        """The matrix itself."""
        return self.base

    def toarray(self) -> Values:
        """Return the dense matrix, a transposed view; differentiable for torch."""
        return self.base.toarray().T

    def tocsr(self) -> "CSR":
        """Return the transpose as a CSR of its own, sorted by its rows; differentiable."""
        arguments.check_shape(self.base.data, (self.nnz,), name="CSR.T.tocsr: data")
        transpose = self.base._structure.transpose
        return type(self.base)._wrap(*convert.canonical(transpose, self.base.data, name="A.data"))

    def __matmul__(self, X: Any) -> Values:
        """Return ``A.T @ X`` by `sparsecore.csr_matmul`."""
        from sparsecore.ops import csr_matmul

        return csr_matmul(self, X)

    def __rmatmul__(self, X: Any) -> Values:
        """Return ``X @ A.T``."""
        return product_from_left(X, self.base)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        """Refuse: making a matrix dense is asked for by name, ``A.toarray()``."""
        raise storage.array_refusal(self)


def product_from_left(X: Any, A_T: "CSR | TransposedCSR") -> Values:
    """Return ``X @ A``, given the transpose of A: it is ``(A.T @ X.T).T``.

    Parameters
    ----------
    X : (m,) or (p, m) values
    A_T : (n, m) matrix

    Returns
    -------
    (n,) or (p, n) values
    """
    from sparsecore.ops import csr_matmul

    X = X if interop.is_tensor(X) else np.asarray(X)
    if X.ndim != 2:
        return csr_matmul(A_T, X)
    return csr_matmul(A_T, X.T).T
