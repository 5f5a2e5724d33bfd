"""Products with a 2:4 matrix by cuSPARSELt, on tensors of a CUDA device.

The library is opened by the first call (`sparsecore.cuda.libraries`). What it compresses is of its
own format, for one version and one device: it is made anew from the matrix, never saved.
"""

from pathlib import Path
from typing import Any, Literal, NoReturn, final

from sparsecore import _core, dense, interop
from sparsecore.cuda import search_cache
from sparsecore.cuda.current import current
from sparsecore.cuda.libraries import open_cusparselt
from sparsecore.cuda.search_cache import Algorithm, SearchKey

__all__ = ["Algorithm", "CompressedMatrix", "compress", "linear", "matmul", "search"]

Activation = Literal["relu", "gelu"]


@final
class CompressedMatrix:
    """A 2:4 matrix as cuSPARSELt has compressed it; `compress` makes one.

    Attributes
    ----------
    shape : (m, k)
    dtype : torch.dtype
        Of the values.
    device : torch.device
    nbytes : int
        As the library says: more than 9/16 of the dense matrix where it pads.
    version : str
        The library's.
    """

    __slots__ = ("_core", "_device", "_dtype")

    def __init__(self, core: "_core.DeviceCusparseLtMatrix", dtype: Any, device: Any) -> None:
        self._core = core
        self._dtype = dtype
        self._device = device

    @property
    def core(self) -> "_core.DeviceCusparseLtMatrix":
        """What products are given."""
        return self._core

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns)."""
        return self._core.shape

    @property
    def dtype(self) -> Any:
        """The torch.dtype of the values."""
        return self._dtype

    @property
    def device(self) -> Any:
        """The torch.device whose memory it lies in."""
        return self._device

    @property
    def nbytes(self) -> int:
        """Bytes of the device."""
        return self._core.nbytes

    @property
    def version(self) -> str:
        """The library's version."""
        return self._core.version

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled or copied."""
        msg = "what cuSPARSELt has compressed is not saved or copied: compress the matrix again"
        raise TypeError(msg)


def compress(W: Any, *, tf32: bool = False) -> CompressedMatrix:
    """Compress a matrix of which at most 2 of each 4 values along a row are not zero.

    Waits for the device, once. -0.0 is zero, NaN is not.

    Parameters
    ----------
    W : (m, k) tensor of a CUDA device, of any strides
        float16, bfloat16: m and k are multiples of 16. int8, float8_e4m3fn: of 32. float32: of 8,
        and at most 1 of each 2 values is not zero.
    tf32 : bool
        Has to be True for float32: products round its values and those of X to 10 bits of mantissa.

    Raises
    ------
    ValueError
        Where a group has more nonzeros: it is named; or for other sizes.
    TypeError
        For another dtype, or a tensor of the host.
    OverflowError
        For int8 and more than 262,142 columns: a sum might not fit int32.
    RuntimeError
        Without the library (`sparsecore.cuda.libraries` says why), a driver, or a device that has
        sparse tensor cores (compute capability 8.0, for float8 8.9).
    MemoryError
        Where the device has not enough.

    Examples
    --------
    >>> import sparsecore as sc
    >>> from sparsecore.cuda import cusparselt
    >>> if sc.cuda.is_available() and sc.cuda.libraries()["cusparselt"].found:
    ...     import torch
    ...     W = torch.eye(64, dtype=torch.float16, device="cuda")
    ...     S = cusparselt.compress(W)
    ...     assert torch.equal(cusparselt.matmul(S, W), W)
    """
    _require_on_device(W, "compress: W")
    torch = interop.import_torch()
    if W.dtype == torch.float32 and not tf32:
        msg = "compress: W is float32, of which products are TF32: expected tf32=True to allow that"
        raise TypeError(msg)
    library = open_cusparselt()
    with current(W) as (allocate, stream):
        made = library.compress(W.detach(), W.device.index or 0, allocate, stream)
    return CompressedMatrix(made, W.dtype, W.device)


def matmul(
    S: CompressedMatrix,
    X: Any,
    *,
    out_dtype: Any = None,
    scale: Any = None,
    bias: Any = None,
    activation: Activation | None = None,
    out: Any = None,
    algorithm: Algorithm | None = None,
) -> Any:
    """Return ``activation(scale[:, None] * (S @ X) + bias[:, None])``; records no gradient.

    Parameters
    ----------
    S : (m, k) compressed matrix
    X : (k, n) tensor of S's dtype and device
        n is a multiple of 8 for 16 bits, of 16 for 8, of 4 for float32, and so is the distance of
        its rows or columns, of which either are contiguous; columns for 8 bits.
    out_dtype : torch.dtype, optional
        For int8 int32 (the default; sums may be rounded to float32 on the way, which is exact up
        to 2^24), int8, float16 or bfloat16; for float8_e4m3fn bfloat16 (the default), float16 or
        float32; else S's.
    scale : (m,) float32 tensor, optional
        For int8, but not with a result of int32.
    bias : (m,) tensor, optional
        Of the result's dtype; not for int8, where the library says of no device which it reads.
    activation : {"relu", "gelu"}, optional
        By the library's formulas: relu gives 0 for NaN; gelu, perhaps the one with tanh, which
        differs by less than 0.0005, is for int8 that gives int8 and float8_e4m3fn that gives
        bfloat16.
    out : (m, n) tensor, optional
        The result is written there, and returned; by default it has the memory order of X.
    algorithm : Algorithm, optional
        What `search` has found; by default the library's own choice.

    Notes
    -----
    Where a group has fewer than two nonzeros, the library chooses which zeros it stores: with NaN
    or infinities of X they make NaN.

    Raises
    ------
    ValueError, TypeError
        Where the operands do not fit; the message names them.
    RuntimeError
        Where the library fails: with its version, call and status.
    MemoryError
        Where the device has no room for the library's workspace or the result.
    """
    given = {"X": X, "scale": scale, "bias": bias, "out": out}
    _require_same_device(S, given, "matmul")
    if out is not None and out.requires_grad:
        msg = "matmul: out requires grad, and no gradient is recorded"
        raise RuntimeError(msg)
    y = _result(S, X, _out_dtype(S, out_dtype, out), "matmul") if out is None else out
    _run(S, X, y, "matmul", scale, bias, activation, algorithm)
    return y


def linear(
    x: Any,
    S: CompressedMatrix,
    bias: Any = None,
    *,
    out_dtype: Any = None,
    scale: Any = None,
    activation: Activation | None = None,
    algorithm: Algorithm | None = None,
) -> Any:
    """Return ``activation(x @ S.T * scale + bias)``, a layer; records no gradient.

    Parameters
    ----------
    x : (..., k) tensor of S's dtype and device
        The product of the other sizes is a multiple as n is for `matmul`.
    S, bias, out_dtype, scale, activation, algorithm
        As for `matmul`; an algorithm is that of ``search(S, x.reshape(-1, k).t())``.

    Returns
    -------
    (..., m) tensor

    Raises
    ------
    ValueError, TypeError, RuntimeError, MemoryError
        As by `matmul`.
    """
    _require_same_device(S, {"x": x, "scale": scale, "bias": bias}, "linear")
    if x.ndim == 0 or x.shape[-1] != S.shape[1]:
        msg = f"linear: x has shape {tuple(x.shape)}, S {S.shape}; expected (..., k), (m, k)"
        raise ValueError(msg)
    rows, factor = dense.flattened(x), 16 // x.itemsize
    if len(rows) % factor != 0:
        msg = f"linear: x has {len(rows)} rows, expected a multiple of {factor} for {x.dtype}"
        raise ValueError(msg)
    y = x.new_empty((*x.shape[:-1], S.shape[0]), dtype=_out_dtype(S, out_dtype, None))
    _run(S, rows.t(), dense.flattened(y).t(), "linear", scale, bias, activation, algorithm)
    return y


def search(
    S: CompressedMatrix,
    X: Any,
    *,
    out_dtype: Any = None,
    path: Path | None = None,
    again: bool = False,
) -> Algorithm:
    """Return the fastest algorithm for ``matmul(S, X)``: a stored one, or one found and stored now.

    A search runs each of the library's kernels several times, into memory of its own, and waits.

    Parameters
    ----------
    S, X, out_dtype
        Of the product. Of X only what it is and how it lies in memory matters.
    path : Path, optional
        The file of results; by default `sparsecore.cuda.search_cache.default_path`.
    again : bool
        Whether to search even though there is a result.

    Raises
    ------
    ValueError, TypeError, RuntimeError, MemoryError
        As by `matmul`.
    """
    _require_same_device(S, {"X": X}, "search")
    scratch = _result(S, X, _out_dtype(S, out_dtype, None), "search")
    key = _key(S, X, scratch)
    path = search_cache.default_path() if path is None else path
    if not again and (known := search_cache.find(key, path)) is not None:
        return known
    with current(X) as (allocate, stream):
        found = Algorithm(*S.core.search(X.detach(), scratch, "search", allocate, stream))
    search_cache.store(key, found, path)
    return found


def _run(
    S: CompressedMatrix,
    X: Any,
    y: Any,
    name: str,
    scale: Any,
    bias: Any,
    activation: Activation | None,
    algorithm: Algorithm | None,
) -> None:
    chosen = None
    if algorithm is not None:
        a = algorithm
        chosen = (a.config_id, a.split_k, a.split_k_mode, a.split_k_buffers)
    with current(X) as (allocate, stream):
        S.core.matmul(X, y, name, scale, bias, activation, chosen, allocate, stream)


def _result(S: CompressedMatrix, X: Any, dtype: Any, name: str) -> Any:
    """Return a new result, uninitialised, in the memory order of X."""
    if X.ndim != 2:
        msg = f"{name}: X has {X.ndim} dimensions, expected 2"
        raise TypeError(msg)
    return dense.ordered_like(X, [S.shape[0], X.shape[1]], dtype)


def _out_dtype(S: CompressedMatrix, out_dtype: Any, out: Any) -> Any:
    torch = interop.import_torch()
    if out is not None:
        return out.dtype
    if out_dtype is not None:
        return out_dtype
    return {torch.int8: torch.int32, torch.float8_e4m3fn: torch.bfloat16}.get(S.dtype, S.dtype)


def _key(S: CompressedMatrix, X: Any, y: Any) -> SearchKey:
    x_order, out_order = ("rows" if t.stride(1) == 1 else "columns" for t in (X, y))
    dtype, out_dtype = (str(t.dtype).removeprefix("torch.") for t in (X, y))
    return SearchKey(
        version=S.version,
        architecture=_core.device_architecture(X.device.index or 0),
        dtype=dtype,
        out_dtype=out_dtype,
        x_order=x_order,
        out_order=out_order,
        m=S.shape[0],
        n=X.shape[1],
        k=S.shape[1],
    )


def _require_same_device(S: CompressedMatrix, given: dict[str, Any], name: str) -> None:
    if not isinstance(S, CompressedMatrix):
        msg = f"{name}: S is a {type(S).__name__}, expected what compress returns"
        raise TypeError(msg)
    for what, operand in given.items():
        if operand is None and what not in ("X", "x"):
            continue
        _require_on_device(operand, f"{name}: {what}")
        if operand.device != S.device:
            msg = (
                f"{name}: S is on device {str(S.device)!r}, {what} on {str(operand.device)!r}; "
                "expected the same device"
            )
            raise TypeError(msg)


def _require_on_device(x: Any, what: str) -> None:
    if not interop.on_device(x):
        where = f"on device {str(x.device)!r}" if interop.is_tensor(x) else f"a {type(x).__name__}"
        msg = f"{what} is {where}, expected a tensor of a CUDA device"
        raise TypeError(msg)
    if x.layout != interop.import_torch().strided or x.is_neg():
        msg = f"{what} is not a plain strided tensor"
        raise TypeError(msg)
