"""A product from a shared library: how kernels that are built elsewhere take part.

The library has C functions, of which the last may be missing. All matrices are fp32; the arrays of
CSR and X stay where they are until `spmm_destroy`; a status other than 0 is a failure.

.. code-block:: c

    void *spmm_create(int64_t rows, int64_t cols, const int32_t *indptr, const int32_t *indices,
                      const float *values);                                  // NULL: failure
    int spmm_run(void *A, int64_t n, const float *X, float *Y);  // Y = A X, row after row
    void spmm_destroy(void *A);
    int spmm_run_columns(void *A, int64_t n, const float *X, float *Y);  // column after column

What `spmm_create` does is packing, and is measured with a run as "first call".
"""

import ctypes
from functools import partial
from pathlib import Path

import numpy as np

from sparsecore.bench.comparison import Absent, Offers
from sparsecore.bench.operands import Product
from sparsecore.bench.peers import Peer
from sparsecore.bench.peers.foreign import Functions, check, offers

__all__ = ["find", "load", "products"]


def find(path: Path) -> Peer:
    """Return the library at a path.

    Raises
    ------
    Absent
        Where it cannot be loaded or lacks a function.
    """
    name = path.stem.removeprefix("lib")
    return Peer(partial(products, load(path), name, packs=True), f"{name} by --peer-library")


def load(path: Path) -> ctypes.CDLL:
    """Load a library and declare its functions.

    Raises
    ------
    Absent
        As `find`.
    """
    try:
        library = ctypes.CDLL(str(path.resolve()))
        create, run, destroy = library.spmm_create, library.spmm_run, library.spmm_destroy
    except (OSError, AttributeError) as error:
        # The system's message starts with the path, which does not belong in a result.
        reason = str(error).removeprefix(str(path.resolve())).lstrip(": ")
        raise Absent(reason) from None
    create.argtypes = [ctypes.c_int64, ctypes.c_int64, *[ctypes.c_void_p] * 3]
    create.restype = ctypes.c_void_p
    run.argtypes = [ctypes.c_void_p, ctypes.c_int64, ctypes.c_void_p, ctypes.c_void_p]
    destroy.argtypes = [ctypes.c_void_p]
    destroy.restype = None
    if hasattr(library, "spmm_run_columns"):
        library.spmm_run_columns.argtypes = run.argtypes
    return library


def products(library: ctypes.CDLL, name: str, product: Product, *, packs: bool) -> Offers:
    """Return the library's product, fp32 only; peers of other dtypes get the operands widened."""
    kind = product.kind
    if kind.wide != "float32" or kind.right == "int8":
        return {name: Absent("fp32 only")}
    if product.transposed:
        return {name: Absent("no transposed product")}
    if product.order == "f" and not hasattr(library, "spmm_run_columns"):
        return {name: Absent("no product column after column")}
    functions = _functions(library, name, product)
    shown = kind.named(name, "float32")
    return offers(shown, functions, product.result_shape(), "float32", packs=packs)


def _functions(library: ctypes.CDLL, name: str, product: Product) -> Functions:
    run = library.spmm_run_columns if product.order == "f" else library.spmm_run
    A, X = product.matrix, product.X.astype(np.float32)
    arrays = A.indptr, A.indices, product.widened(A.data)
    sources = [array.ctypes.data for array in arrays]
    n, x = product.n, X.ctypes.data

    def create() -> int:
        handle = library.spmm_create(*A.shape, *sources)
        if not handle:
            msg = f"{name}: spmm_create failed"
            raise RuntimeError(msg)
        return int(handle)

    def multiply(handle: int, y: int) -> None:
        check(run(handle, n, x, y), name)

    return Functions(create, multiply, library.spmm_destroy, (*arrays, X))
