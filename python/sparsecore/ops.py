"""The operations. Each accepts numpy arrays or torch tensors and returns what X is.

Arguments become views here, torch calls that need a gradient go to ``torch_ops``, everything else
goes straight to the core, which checks that the arguments agree; products of matrices on a CUDA
device by way of ``cuda.products``.
"""

from typing import Any, Literal, TypeAlias, get_args

import numpy as np

from sparsecore import _core, dense, interop
from sparsecore.cuda import products, structure24
from sparsecore.cuda.structure import DeviceStructure
from sparsecore.cuda.structure24 import DeviceSparse24
from sparsecore.formats import COO, CSR, Sparse24, TransposedCSR, arguments
from sparsecore.formats.slots24 import Structure24, slots_of
from sparsecore.interop import Values
from sparsecore.plan import Plan
from sparsecore.threads import checked, get_num_threads, resolved, set_num_threads

__all__ = [
    "csr_matmul",
    "csr_sddmm",
    "get_num_threads",
    "linear",
    "prune_24",
    "set_num_threads",
    "sparse24_matmul",
]

Activation: TypeAlias = Literal["relu", "gelu", "silu"]
ACTIVATIONS = (None, *get_args(Activation))
# What products run on: a matrix or a plan, with A.T already taken apart.
Left: TypeAlias = CSR | Plan | Sparse24
Structure: TypeAlias = _core.CsrStructure | DeviceStructure
_HostStructure, _HostPlan = _core.CsrStructure, _core.Plan


def csr_matmul(
    A: Any, X: Values, *, scale: Values = None, out: Values = None, threads: int | None = None
) -> Values:
    """Multiply a sparse matrix by a dense one: ``A @ X``.

    Entries that A does not store contribute nothing, whatever X holds there: also NaN and
    infinities. Sums are kept in fp64 for fp64, in fp32 for fp32, fp16 and bf16, in int32 for int8
    (exactly; a sum outside int32 raises, and on a CUDA device a row of more than 131,071 entries,
    as only then one could be). The kernel depends on A's pattern, the shapes and the
    dtypes only, and rows are never split over threads: the same call gives the same bits, with any
    number of threads.

    Parameters
    ----------
    A : CSR, its transpose ``A.T``, Plan, scipy sparse, or torch sparse_csr; (m, k)
        The last two are converted in each call.
    X : (k,) or (k, n) numpy array or torch tensor, on A's device
        Any strides. Its dtype equals A's, or: fp32 with fp16 or bf16 A; any floating dtype with
        int8 A and `scale`. A column-major X gives a column-major result.
    scale : (m,) floating array, optional
        Factor of each row of the result. Needed for int8 A with floating X.
    out : array like the result, optional
        Written instead of a new array. It must not overlap an argument, and takes no part in
        gradients.
    threads : int, optional
        At most this many; by default `get_num_threads()`. Of the processor: on a CUDA device it
        changes nothing.

    Returns
    -------
    (m,) or (m, n) array or tensor, as X
        Of X's dtype; int32 for int8 by int8. Differentiable in ``A.data`` (at the stored
        positions) and X where these are tensors that require grad; a Plan's values are constant.

    Raises
    ------
    ValueError
        Where shapes do not agree, or `out` has another shape or dtype, is read-only or overlaps an
        argument.
    TypeError
        Where dtypes, devices or kinds do not go together; both sides are named.
    OverflowError
        Where a sum of int8 products does not fit int32 or, on a CUDA device, might not.
    RuntimeError
        Where `out` is given and a gradient is asked for.

    Examples
    --------
    A row (3, 0, 4, 0, 2, 0, 1) times a column takes four multiplications; what the column holds at
    the zeros does not matter:

    >>> import numpy as np
    >>> import sparsecore as sc
    >>> A = sc.CSR.from_dense(np.array([[3.0, 0, 4, 0, 2, 0, 1]]))
    >>> sc.csr_matmul(A, np.array([2.0, 1, 5, np.nan, 4, 1, 3]))
    array([37.])
    """
    # What `matmul` does besides takes longer than a small product.
    kind = type(A)
    if scale is None and (kind is CSR or kind is Plan):
        values = A._data if kind is CSR else A._like
        if (
            (out is None or type(out) is np.ndarray)
            if type(X) is np.ndarray
            else interop.is_direct(values, X, out)
        ):
            if threads is not None:
                threads = checked(threads, name="csr_matmul: threads")
            if kind is Plan:
                if type(A._plan) is _HostPlan:
                    return _core.plan_matmul(A._plan, X, out, threads, "csr_matmul")
            elif type(A._structure) is _HostStructure:
                return _core.csr_matmul(A._structure, values, X, out, threads, "csr_matmul")
            return run(A, X, out, None, "csr_matmul")
    left, transposed = _left(A, "csr_matmul")
    return matmul(left, X, transposed=transposed, scale=scale, out=out, threads=threads)


def sparse24_matmul(
    S: Sparse24, X: Values, *, scale: Values = None, out: Values = None, threads: int | None = None
) -> Values:
    """Multiply a 2:4 matrix by a dense one: ``S @ X``.

    As `csr_matmul`, with two differences. Both slots of every group of four are stored, so a slot
    that holds a zero multiplies as IEEE says (0 times NaN is NaN). And values and X may be 8-bit
    floats (float8_e4m3fn, float8_e5m2): with X in fp16, bf16 or fp32, the result has X's dtype; X
    of 8 bits is taken as fp32, and the result is fp32, which sums are kept in. (torch._scaled_mm
    has 8 by 8 bits only, and rounds to a dtype that its caller names.)

    Parameters
    ----------
    S : Sparse24, (m, k)
    X : (k,) or (k, n) numpy array or torch tensor, on S's device
    scale, out, threads
        As in `csr_matmul`.

    Returns
    -------
    (m,) or (m, n) array or tensor, as X
        Differentiable in ``S.values`` and X.

    Raises
    ------
    ValueError, TypeError, OverflowError, RuntimeError
        As `csr_matmul`.

    Examples
    --------
    >>> import numpy as np
    >>> import sparsecore as sc
    >>> S = sc.Sparse24.from_dense(np.array([[1.0, 0, 0, 2], [0, 3, 0, 0]]))
    >>> sc.sparse24_matmul(S, np.ones(4))
    array([3., 3.])
    """
    if not isinstance(S, Sparse24):
        msg = f"sparse24_matmul: S is a {type(S).__name__}, expected a Sparse24"
        raise TypeError(msg)
    if scale is None and _is_direct(S._values, X, out):
        return run(S, X, out, threads, "sparse24_matmul")
    return matmul(S, X, scale=scale, out=out, threads=threads)


def linear(
    x: Values,
    A: Any,
    bias: Values = None,
    *,
    activation: Activation | None = None,
    residual: Values = None,
    scale: Values = None,
    out: Values = None,
    threads: int | None = None,
) -> Values:
    """Apply a layer: ``activation((x @ A.T) * scale + bias + residual)``.

    Parameters
    ----------
    x : (..., k) numpy array or torch tensor, on A's device
    A : CSR, Plan or Sparse24, (m, k); or a dense (m, k) array like x
    bias : (m,) array, optional
    activation : {"relu", "gelu", "silu"}, optional
        "gelu" is the exact form, x * Phi(x).
    residual : (..., m) array, optional
    scale : (m,) array, optional
        Factor of each output feature. Needed for int8 A with floating x.
    out : (..., m) array, optional
        As in `csr_matmul`.
    threads : int, optional
        As in `csr_matmul`.

    Returns
    -------
    (..., m) array or tensor, as x
        Differentiable in x, the values of A, `bias`, `residual` and `scale`.

    Raises
    ------
    ValueError, TypeError, OverflowError, RuntimeError
        As `csr_matmul`.

    Examples
    --------
    >>> import numpy as np
    >>> import sparsecore as sc
    >>> A = sc.CSR.from_dense(np.array([[1.0, 0, -2], [0, 3, 0]]))
    >>> sc.linear(np.ones((2, 3)), A, np.array([0.5, 0.5]), activation="relu")
    array([[0. , 3.5],
           [0. , 3.5]])
    """
    if activation not in ACTIVATIONS:
        msg = f"linear: activation is {activation!r}, expected None, 'relu', 'gelu' or 'silu'"
        raise ValueError(msg)
    kind = type(A)
    values = (
        A._data
        if kind is CSR
        else A._like
        if kind is Plan
        else A._values
        if kind is Sparse24
        else None
    )
    if values is not None and _is_direct(values, x, out, bias, residual, scale):
        options = (False, True, scale, bias, residual, activation)
        return run(A, x, out, threads, "linear", *options)
    x = _as_values(x, "linear: x")
    if isinstance(A, np.ndarray) or (interop.is_tensor(A) and str(A.layout) == "torch.strided"):
        if threads is not None:
            checked(threads, name="linear: threads")
        _wants_grad(None, x, A, scale, bias, residual, out=out, name="linear")
        if out is not None:
            _check_writable(out, like=x, name="linear")
        epilogue = dense.Epilogue(scale, bias, residual, activation)
        return dense.linear(x, A, epilogue, out=out)
    left, transposed = _left(A, "linear", sparse24=True)
    return matmul(
        left,
        x,
        transposed=transposed,
        by_rows=True,
        scale=scale,
        bias=bias,
        residual=residual,
        activation=activation,
        out=out,
        threads=threads,
        name="linear",
    )


def csr_sddmm(A: CSR | Plan, U: Values, V: Values, *, threads: int | None = None) -> Values:
    """Compute ``U @ V.T`` at the stored positions of A only: the gradient of ``A.data``.

    Parameters
    ----------
    A : CSR or Plan, (m, k)
        Only its pattern is read.
    U : (m,) or (m, n) numpy array or torch tensor, on A's device
    V : (k,) or (k, n), of U's kind and dtype
    threads : int, optional
        As in `csr_matmul`.

    Returns
    -------
    (nnz,) array or tensor, as U
        Entry p is ``dot(U[row of p], V[column of p])``, accumulated as in `csr_matmul`.
        Differentiable in U and V.

    Raises
    ------
    ValueError
        Where shapes do not agree.
    TypeError
        Where dtypes, devices or kinds do not go together.

    Examples
    --------
    >>> import numpy as np
    >>> import sparsecore as sc
    >>> A = sc.CSR.from_dense(np.eye(2))
    >>> sc.csr_sddmm(A, np.array([[1.0, 2], [3, 4]]), np.array([[5.0, 6], [7, 8]]))
    array([17., 53.])
    """
    if not isinstance(A, CSR | Plan):
        msg = f"csr_sddmm: A is a {type(A).__name__}, expected a CSR or a Plan"
        raise TypeError(msg)
    _same_kind(U, V, names=("csr_sddmm: U", "V"))
    if type(U) is not np.ndarray and interop.is_direct(V, U, None):
        return sampled(A._structure, U, V, threads)
    if interop.is_tensor(U):
        if not (interop.is_plain(U) and interop.is_plain(V)):
            from sparsecore.library import calls

            return calls.csr_sddmm(A, U, V, threads=threads)
        from sparsecore import torch_state

        U, V = torch_state.under_autocast(U, V)
    if _wants_grad(None, U, V, out=None, name="csr_sddmm"):
        from sparsecore import torch_ops

        return torch_ops.csr_sddmm(A, U, V, threads=threads)
    return sampled(A._structure, U, V, threads)


def prune_24(W: Values, *, threads: int | None = None) -> Values:
    """Choose the two largest magnitudes of every four along the last axis.

    Parameters
    ----------
    W : (..., k) numpy array or torch tensor
        -0.0 counts as zero, NaN as the largest magnitude.
    threads : int, optional
        As in `csr_matmul`.

    Returns
    -------
    (..., k) bool array or tensor, as W
        True = kept. Ties keep the lower column; a last group of t < 4 columns keeps min(t, 2).

    Raises
    ------
    TypeError
        Where the dtype is not one of float64, float32, float16, bfloat16, int8, or W has no axis.

    Examples
    --------
    >>> import numpy as np
    >>> import sparsecore as sc
    >>> sc.prune_24(np.array([1.0, -3, 2, 2])).tolist()
    [False, True, True, False]
    """
    name = "prune_24: W"
    if interop.on_device(W):
        arguments.check_strided(W, name=name)
        array: Any = W
    else:
        array = interop.to_numpy(W, name=name)
    if array.ndim == 0:
        msg = f"{name} has no axis, expected at least 1 dimension"
        raise TypeError(msg)
    rows = int(np.prod(array.shape[:-1]))
    flat = array.reshape(rows, array.shape[-1])
    threads = resolved(threads, name="prune_24")
    if interop.is_tensor(flat):
        return structure24.prune_24(flat).view(W.shape)
    mask = _core.prune_24(flat, threads)
    return interop.from_numpy(mask.reshape(array.shape), like=W)


# ---- shared by the products; torch_ops calls `matmul` for its backward passes ----


def matmul(
    left: Left,
    X: Values,
    *,
    transposed: bool = False,
    by_rows: bool = False,
    scale: Values = None,
    bias: Values = None,
    residual: Values = None,
    activation: Activation | None = None,
    out: Values = None,
    threads: int | None = None,
    name: str = "",
) -> Values:
    """Multiply a matrix that is already one of ours, with the whole epilogue; differentiable.

    Where `by_rows`, X, `residual` and the result are a layer's: (..., k) and (..., m).
    """
    name = name or ("sparse24_matmul" if isinstance(left, Sparse24) else "csr_matmul")
    X = _as_values(X, f"{name}: X")
    if isinstance(left, Sparse24):
        X = _widened(X)
    if interop.is_tensor(X):
        if not interop.is_plain(X):
            from sparsecore.library import calls

            call = calls.Call(left, transposed, by_rows, threads, name)
            return calls.matmul(call, X, scale, bias, residual, activation, out=out)
        from sparsecore import torch_state

        X, residual = torch_state.under_autocast(X, residual, to=left.dtype)
    if _wants_grad(left, X, scale, bias, residual, out=out, name=name):
        from sparsecore import torch_ops

        recorded = torch_ops.Call(left, transposed, by_rows, threads, name)
        return torch_ops.matmul(recorded, X, scale, bias, residual, activation)
    if out is not None:
        _check_writable(out, like=X, name=name)
    options = (transposed, by_rows, scale, bias, residual, activation)
    return run(left, X, out, threads, name, *options)


def run(
    left: Left,
    X: Values,
    out: Values,
    threads: int | None,
    name: str,
    *options: Any,
) -> Values:
    """Multiply; `options` are the core's further ones, in order. Records nothing."""
    if threads is not None:
        threads = checked(threads, name=f"{name}: threads")
    if isinstance(left, Plan):
        if isinstance(left._plan, _core.Plan):
            return _core.plan_matmul(left._plan, X, out, threads, name, *options)
        return products.plan_matmul(left._plan, X, out, threads, name, *options)
    if isinstance(left, CSR):
        structure, values = left._structure, left._data
        if type(structure) is _HostStructure:
            return _core.csr_matmul(structure, values, X, out, threads, name, *options)
        return products.csr_matmul(structure, values, X, out, threads, name, *options)
    call = (_widened(X), out, threads, name, *options)
    return multiplied_24(left._structure, left._values, *call)


def csr_matmul_of(structure: Structure) -> Any:
    """Return the core's product for structures like this one, by the memory that it is in."""
    return products.csr_matmul if isinstance(structure, DeviceStructure) else _core.csr_matmul


def multiplied_24(structure: Structure24, values: Values, X: Values, *call: Any) -> Values:
    """Multiply a 2:4 matrix, in whatever memory; `call` are the core's other arguments, in order.

    The transpose is that of the slots as CSR, which are made once.
    """
    if interop.is_float8(values.dtype):
        _check_float8(values, X, name=call[2])
    if call[3:4] == (True,):  # transposed
        slots = slots_of(structure)
        entries = slots.entries(as_wide_as(X, values))
        return csr_matmul_of(slots.structure)(slots.structure, entries, X, *call)
    if isinstance(structure, DeviceSparse24):
        return products.sparse24_matmul(structure, values, X, *call)
    return _core.sparse24_matmul(structure, as_wide_as(X, values), X, *call)


def as_wide_as(X: Values, values: Values) -> Values:
    """Return values as a product with X reads them: 8-bit floats in X's dtype, which has them."""
    dtype = interop.numpy_dtype(X.dtype)
    return interop.cast(values, dtype) if interop.is_float8(values.dtype) else values


def _check_float8(values: Values, X: Values, *, name: str) -> None:
    dtype = interop.numpy_dtype(X.dtype)
    if dtype.name not in ("float32", "float16", "bfloat16"):
        msg = (
            f"{name}: A is {interop.numpy_dtype(values.dtype)}, X is {dtype}; expected X of "
            "float32, float16, bfloat16 or an 8-bit floating dtype"
        )
        raise TypeError(msg)


def _widened(X: Values) -> Values:
    """Return a right side of 8-bit floats in float32, the dtype of its products; others as is."""
    is_array = type(X) is np.ndarray or interop.is_tensor(X)
    float32 = interop.VALUE_DTYPES["float32"]
    return interop.cast(X, float32) if is_array and interop.is_float8(X.dtype) else X


def sampled(structure: Structure, U: Values, V: Values, threads: int | None) -> Values:
    """Return ``U @ V.T`` at the positions of a structure. Records nothing."""
    if isinstance(structure, DeviceStructure):
        if threads is not None:
            checked(threads, name="csr_sddmm: threads")
        return products.csr_sddmm(structure, U, V)
    data = _core.csr_sddmm(
        structure,
        interop.to_numpy(U, name="csr_sddmm: U"),
        interop.to_numpy(V, name="csr_sddmm: V"),
        resolved(threads, name="csr_sddmm"),
    )
    return interop.from_numpy(data, like=U)


def _is_direct(values: Values, X: Values, out: Values, *others: Values) -> bool:
    """Whether nothing is to be converted, cast or recorded before the core multiplies."""
    if type(X) is np.ndarray:
        for value in (out, *others):
            if value is not None and type(value) is not np.ndarray:
                return False
        return True
    return interop.is_direct(values, X, out, *others)


def _left(A: Any, name: str, *, sparse24: bool = False) -> tuple[Left, bool]:
    """Return the matrix or plan behind `A`, and whether it is meant transposed."""
    if isinstance(A, TransposedCSR):
        return A.base, True
    if isinstance(A, CSR | Plan) or (sparse24 and isinstance(A, Sparse24)):
        return A, False
    if interop.is_tensor(A) and str(A.layout) == "torch.sparse_csr":
        return CSR.from_torch(A), False
    if type(A).__module__.partition(".")[0] == "scipy":
        return CSR.from_scipy(A), False
    if isinstance(A, COO):
        msg = f"{name}: A is a COO, which is for editing; products take A.tocsr()"
        raise TypeError(msg)
    expected = "a CSR, its transpose, a Plan, a scipy sparse array or a torch.sparse_csr tensor"
    msg = f"{name}: A is a {type(A).__name__}, expected {expected}"
    raise TypeError(msg)


def _wants_grad(left: Left | None, *operands: Values, out: Values, name: str) -> bool:
    """Whether torch would record this call: grad mode is on and a tensor requires grad."""
    torch = interop.torch_or_none()
    if torch is None or not torch.is_grad_enabled():
        return False
    values: Values = None
    if isinstance(left, CSR):
        values = left._data
    elif isinstance(left, Sparse24):
        values = left.values
    given = (*operands, values, out)
    tracked = [t for t in given if getattr(t, "requires_grad", False) and interop.is_tensor(t)]
    if not tracked:
        return False
    if not interop.is_tensor(operands[0]):
        if any(t is tracked[0] for t in operands):
            msg = f"{name}: X is a numpy array, but an argument is a tensor that requires grad"
            raise TypeError(msg)
        return False  # the values may require grad: a numpy result takes no part in it
    if out is not None:
        msg = f"{name}: out takes no part in gradients, but an argument requires grad"
        raise RuntimeError(msg)
    return True


def _as_values(x: Any, name: str) -> Values:
    """Return arrays and tensors as they are, nested lists as arrays."""
    if interop.is_tensor(x) or type(x) is np.ndarray:
        return x
    array = np.asarray(x)
    if array.dtype == object or array.dtype.kind in "USmM":
        msg = f"{name} is a {type(x).__name__}, expected a numpy array or a torch tensor"
        raise TypeError(msg)
    return array


def _check_writable(out: Values, *, like: Values, name: str) -> None:
    _same_kind(like, out, names=(f"{name}: X", "out"))
    if interop.is_tensor(out) and out.requires_grad:
        msg = f"{name}: out requires grad; pass out.detach()"
        raise RuntimeError(msg)


def _same_kind(a: Values, b: Values, *, names: tuple[str, str]) -> None:
    if interop.is_tensor(a) != interop.is_tensor(b):
        kinds = ["a torch tensor" if interop.is_tensor(v) else "a numpy array" for v in (a, b)]
        msg = f"{names[0]} is {kinds[0]}, {names[1]} is {kinds[1]}; expected the same kind"
        raise TypeError(msg)
