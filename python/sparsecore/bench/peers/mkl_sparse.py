"""MKL's inspector-executor: sparse products that are optimized for one matrix beforehand.

The functions are those of "Inspector-Executor Sparse BLAS Routines" in Intel's oneMKL reference for
C, with 32-bit indices. The library is PyPI's `mkl`, or one that the system's loader finds; torch's
copy of MKL is inside torch and takes no part in this.
"""

import ctypes
import importlib.metadata
import re
from collections.abc import Callable
from ctypes.util import find_library
from functools import partial
from pathlib import Path
from typing import Any

from sparsecore.bench.comparison import Absent, Offers
from sparsecore.bench.operands import Product
from sparsecore.bench.peers import Peer
from sparsecore.bench.peers.foreign import Functions, check, offers

__all__ = ["find"]

_OPERATION = {False: 10, True: 11}  # SPARSE_OPERATION_NON_TRANSPOSE, SPARSE_OPERATION_TRANSPOSE
_LAYOUT = {"c": 101, "f": 102}  # SPARSE_LAYOUT_ROW_MAJOR, SPARSE_LAYOUT_COLUMN_MAJOR
# The calls that a hint promises: enough for any optimization to pay.
_EXPECTED_CALLS = 100_000


class _Description(ctypes.Structure):
    """The type `matrix_descr`: type, mode, diag."""

    _fields_ = (("type", ctypes.c_int), ("mode", ctypes.c_int), ("diag", ctypes.c_int))


# SPARSE_MATRIX_TYPE_GENERAL; the other two then mean nothing, but have to be valid.
_GENERAL = _Description(20, 40, 50)


def find() -> Peer:
    """Return MKL.

    Raises
    ------
    Absent
        Where it is not installed or cannot be loaded.
    """
    path = _path()
    try:
        library = ctypes.CDLL(path)
    except OSError:
        reason = f"{Path(path).name} cannot be loaded"
        raise Absent(reason) from None
    text = ctypes.create_string_buffer(200)
    library.mkl_get_version_string(text, len(text))
    version = re.search(r"Version (\S+?)-", text.value.decode())
    return Peer(partial(products, library), f"MKL {version[1] if version else 'of no version'}")


def _path() -> str:
    try:
        files = importlib.metadata.files("mkl") or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    for file in files:
        if re.fullmatch(r"libmkl_rt\.so(\.\d+)*", file.name):
            return str(file.locate())
    found = find_library("mkl_rt")
    if found is None:
        reason = "neither PyPI's mkl nor a libmkl_rt is installed"
        raise Absent(reason)
    return found


def products(library: ctypes.CDLL, product: Product) -> Offers:
    """Return the optimized product, in fp32 and fp64; other dtypes get the operands widened."""
    kind = product.kind
    name = kind.named("mkl", kind.wide)
    if kind.right == "int8":
        return {name: Absent("floating dtypes only")}
    functions = _functions(library, product)
    return offers(name, functions, product.result_shape(), kind.wide, packs=True)


def _functions(library: ctypes.CDLL, product: Product) -> Functions:
    wide = product.kind.wide
    letter, scalar = ("d", ctypes.c_double) if wide == "float64" else ("s", ctypes.c_float)
    A, X = product.matrix, product.X.astype(wide)
    arrays = A.indptr, A.indices, product.widened(A.data)
    starts, columns, values = (array.ctypes.data for array in arrays)
    sources = map(ctypes.c_void_p, (starts, starts + A.indptr.itemsize, columns, values))
    whole = (0, *A.shape, *sources)
    create_csr = getattr(library, f"mkl_sparse_{letter}_create_csr")
    hint, multiply = _steps(library, letter, scalar, product, X)

    def create() -> ctypes.c_void_p:
        handle = ctypes.c_void_p()
        check(create_csr(ctypes.byref(handle), *whole), "mkl_sparse_create_csr")
        check(hint(handle), "mkl_sparse_set_hint")
        check(library.mkl_sparse_optimize(handle), "mkl_sparse_optimize")
        return handle

    return Functions(create, multiply, library.mkl_sparse_destroy, (*arrays, X))


def _steps(
    library: ctypes.CDLL, letter: str, scalar: Any, product: Product, X: Any
) -> tuple[Callable[[Any], int], Callable[[Any, int], None]]:
    """Return the hint and the product: those for a vector, or those for several columns."""
    operation, n = _OPERATION[product.transposed], product.n
    one, zero, x, pointer = scalar(1), scalar(0), ctypes.c_void_p(X.ctypes.data), ctypes.c_void_p
    if n == 1:
        mv = getattr(library, f"mkl_sparse_{letter}_mv")
        return (
            lambda A: library.mkl_sparse_set_mv_hint(A, operation, _GENERAL, _EXPECTED_CALLS),
            lambda A, y: check(
                mv(operation, one, A, _GENERAL, x, zero, pointer(y)), "mkl_sparse_mv"
            ),
        )
    mm, layout = getattr(library, f"mkl_sparse_{letter}_mm"), _LAYOUT[product.order]
    turned = product.order == "f"
    ldx, ldy = (X.shape[1], product.rows) if turned else (n, n)

    def hint(A: Any) -> int:
        set_hint = library.mkl_sparse_set_mm_hint
        return int(set_hint(A, operation, _GENERAL, layout, n, _EXPECTED_CALLS))

    def multiply(A: Any, y: int) -> None:
        status = mm(operation, one, A, _GENERAL, layout, x, n, ldx, zero, pointer(y), ldy)
        check(status, "mkl_sparse_mm")

    return hint, multiply
