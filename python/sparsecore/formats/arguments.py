"""What a caller may pass as values, indices, positions, a shape, a dtype or a device."""

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

from sparsecore import interop
from sparsecore.formats import placement
from sparsecore.interop import FLOAT8_DTYPES, VALUE_DTYPES, DTypeLike, Int64, Values

# Values, or a (nested) sequence of numbers.
ValuesLike: TypeAlias = Any
# An integer array, tensor or sequence.
IndexLike: TypeAlias = Any

_INT64_MAX = np.iinfo(np.int64).max


def value_dtype(dtype: DTypeLike, *, name: str, float8: bool = False) -> np.dtype[Any]:
    """Return the numpy dtype of `dtype` if values may have it; with `float8` also an 8-bit float.

    Raises
    ------
    TypeError
        Where it is none of fp64, fp32, fp16, bf16 and int8, or not in native byte order.
    """
    allowed = VALUE_DTYPES | FLOAT8_DTYPES if float8 else VALUE_DTYPES
    try:
        result = None if dtype is None else interop.numpy_dtype(dtype)
    except TypeError:
        result = None
    if result is not None and result in allowed.values():
        return result
    if result is not None and not result.isnative:
        msg = f"{name} has dtype {result.str!r}, expected the native byte order"
        raise TypeError(msg)
    msg = f"{name} has dtype {dtype}, expected one of {', '.join(allowed)}"
    raise TypeError(msg)


def as_values(
    x: ValuesLike,
    *,
    name: str,
    ndim: int,
    like: Values | None = None,
    device: bool = False,
    float8: bool = False,
) -> Values:
    """Return `x` as values: a tensor as it is, anything else as a contiguous numpy array.

    Parameters
    ----------
    x : numpy array, torch tensor or nested sequence of numbers
        An array of another library in the memory of a CUDA device becomes a tensor.
    name : str
        The argument's name, for the message.
    ndim : int
        The number of axes that `x` must have.
    like : values, optional
        The kind and dtype that a sequence takes; arrays and tensors keep their own.
    device : bool
        Whether values may be in the memory of a CUDA device.
    float8 : bool
        Whether they may be of an 8-bit floating dtype.

    Raises
    ------
    TypeError
        Where the dtype, the number of axes, the device or the layout is not one that works.
    """
    x = interop.as_met(x)
    if interop.is_tensor(x):
        values = x
    elif isinstance(x, np.ndarray) or like is None:
        values = np.asarray(x)
    else:
        values = interop.from_numpy(np.asarray(x, interop.numpy_dtype(like.dtype)), like=like)
    value_dtype(values.dtype, name=name, float8=float8)
    if values.ndim != ndim:
        msg = f"{name} has {values.ndim} axes, expected {ndim}"
        raise TypeError(msg)
    if interop.is_tensor(values):
        if device and interop.on_device(values):
            check_strided(values, name=name)
        elif interop.is_plain(values):
            interop.to_numpy(values, name=name)  # refuses other devices and layouts
        return values
    return np.require(values, requirements=("C", "A"))


def check_strided(tensor: Any, *, name: str) -> None:
    """Raise TypeError where a tensor's memory, seen by its strides, does not hold its values."""
    if tensor.layout != interop.import_torch().strided:
        msg = f"{name} has layout {tensor.layout}, expected torch.strided"
        raise TypeError(msg)
    if tensor.is_neg():
        msg = f"{name} is a negated view of its memory; pass a tensor's resolve_neg()"
        raise TypeError(msg)


def as_indices(x: IndexLike, *, name: str, like: Values | None = None) -> Any:
    """Return `x` as a contiguous, aligned 1-D int64 array.

    Where `like` is in the memory of a CUDA device: as `as_int32_or_64`.

    Raises
    ------
    TypeError, IndexError
        As `as_int32_or_64`.
    """
    indices = as_int32_or_64(x, name=name, like=like)
    return indices if interop.is_tensor(indices) else indices.astype(np.int64, copy=False)


def as_int32_or_64(x: IndexLike, *, name: str, like: Values | None = None) -> Any:
    """Return `x` as a contiguous, aligned 1-D array of int64, or of int32 where it is that.

    Where `like`, the values that they are indices of, is in the memory of a CUDA device, as a
    contiguous 1-D tensor there, which may also be of an unsigned dtype: a sequence is copied to it,
    an array or tensor has to be there.

    Raises
    ------
    TypeError
        Where `x` is not 1-D, does not hold integers (booleans are none), or is in other memory.
    IndexError
        Where an unsigned 64-bit index is past int64.
    """
    x = interop.as_met(x)
    if interop.on_device(like):
        return _device_indices(x, name=name, like=like)
    array = interop.to_numpy(x, name=name) if interop.is_tensor(x) else np.asarray(x)
    if isinstance(x, list | tuple) and not x:
        array = array.astype(np.int64)
    check_integers(array, name=name)
    if array.dtype.kind == "u" and array.dtype.itemsize == 8:
        outside = array > _INT64_MAX
        if outside.any():
            position = int(np.argmax(outside))
            msg = f"{name} holds {array[position]} at position {position}, past the largest int64"
            raise IndexError(msg)
    dtype = np.int32 if array.dtype == np.int32 else np.int64
    return np.require(array, dtype, ("C", "A", "E"))


def check_integers(indices: Any, *, name: str) -> None:
    """Raise TypeError where an array or tensor does not hold integers along one axis."""
    kinds = ("torch.int", "torch.uint")
    is_tensor = interop.is_tensor(indices)
    if not (str(indices.dtype).startswith(kinds) if is_tensor else indices.dtype.kind in "iu"):
        msg = f"{name} has dtype {str(indices.dtype).removeprefix('torch.')}, expected integers"
        raise TypeError(msg)
    if indices.ndim != 1:
        msg = f"{name} has {indices.ndim} axes, expected 1"
        raise TypeError(msg)


def _device_indices(x: Any, *, name: str, like: Any) -> Any:
    if isinstance(x, list | tuple | range):
        return interop.as_tensor(as_int32_or_64(x, name=name), device=like.device)
    placement.check_same_memory(x, like, name=name)
    check_integers(x, name=name)
    torch = interop.import_torch()
    return (x.to(torch.int64) if x.dtype in (torch.int8, torch.int16) else x).contiguous()


def as_positions(x: IndexLike, size: int, *, name: str) -> Int64:
    """Return `x` as positions into `size` things; negative ones count from the end.

    Raises
    ------
    IndexError
        Where one is outside; names it.
    """
    positions: Int64 = as_indices(x, name=name)
    outside = (positions < -size) | (positions >= size)
    if outside.any():
        where = int(np.argmax(outside))
        msg = f"{name} {positions[where]} at position {where} is outside [{-size}, {size})"
        raise IndexError(msg)
    return np.where(positions < 0, positions + size, positions)


def as_shape(shape: Sequence[Any], *, name: str) -> tuple[int, int]:
    """Return `shape` as two ints.

    Raises
    ------
    TypeError
        Where it is not a sequence of integers.
    ValueError
        Where it has not two of them, or one is negative or past int64.
    """
    try:
        sizes = tuple(int(size.__index__()) for size in shape)
    except (TypeError, AttributeError):
        msg = f"{name}: shape is {shape!r}, expected two integers"
        raise TypeError(msg) from None
    if len(sizes) != 2 or min(sizes) < 0 or max(sizes) > _INT64_MAX:
        msg = f"{name}: shape is {shape!r}, expected two sizes from 0 to {_INT64_MAX}"
        raise ValueError(msg)
    return sizes[0], sizes[1]


def check_shape(values: Values, expected: tuple[int, ...], *, name: str) -> None:
    """Raise ValueError where `values` has another shape.

    Values that fitted once may not any more: ``parameter.data = other`` gives a tensor a new shape.
    """
    if tuple(values.shape) != expected:
        msg = f"{name} has shape {tuple(values.shape)}, expected {expected}"
        raise ValueError(msg)


def check_like(values: Values, like: Values, *, name: str) -> None:
    """Raise TypeError where `values` is no tensor of the dtype and the device of the tensor `like`.

    Both are named.
    """
    expected = f"expected a {like.dtype} tensor on {str(like.device)!r}"
    if not interop.is_tensor(values):
        msg = f"{name} is a {type(values).__name__}, {expected}"
        raise TypeError(msg)
    if values.dtype != like.dtype or values.device != like.device:
        msg = f"{name} is a {values.dtype} tensor on {str(values.device)!r}, {expected}"
        raise TypeError(msg)
