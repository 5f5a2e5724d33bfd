"""Where numpy and torch meet: what takes values of either kind handles them by these functions.

Whether something is a tensor is asked of ``sys.modules``, so that numpy alone never imports torch.
Outside the modules that are torch's alone, only `import_torch` does, for a caller who has a tensor
or asked for one.
"""

import sys
from typing import Any, TypeAlias

import ml_dtypes
import numpy as np
import numpy.typing as npt

from sparsecore import _core

# A numpy array or a torch tensor. Any, because a union would make every caller of `A.data` narrow
# a type that it knows.
Values: TypeAlias = Any
# A numpy dtype, anything that np.dtype accepts, or a torch.dtype.
DTypeLike: TypeAlias = Any
Array: TypeAlias = npt.NDArray[Any]
Int64: TypeAlias = npt.NDArray[np.int64]

VALUE_DTYPES: dict[str, np.dtype[Any]] = {
    "float64": np.dtype(np.float64),
    "float32": np.dtype(np.float32),
    "float16": np.dtype(np.float16),
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
    "int8": np.dtype(np.int8),
}
# What a 2:4 matrix may hold besides, and a right side of its products.
FLOAT8_DTYPES: dict[str, np.dtype[Any]] = {
    "float8_e4m3fn": np.dtype(ml_dtypes.float8_e4m3fn),
    "float8_e5m2": np.dtype(ml_dtypes.float8_e5m2),
}
_BFLOAT16 = VALUE_DTYPES["bfloat16"]
# Those that torch and numpy hand to each other as bits only.
_AS_BITS = {dtype: np.dtype(f"i{dtype.itemsize}") for dtype in (_BFLOAT16, *FLOAT8_DTYPES.values())}
_HALVES = (VALUE_DTYPES["float16"], _BFLOAT16)


def torch_or_none() -> Any:
    """Return the torch module if the process has imported it, else None."""
    return sys.modules.get("torch")


def import_torch() -> Any:
    """Import torch: only where the user handed a tensor in, or asked for one by a method's name."""
    import torch

    return torch


def is_tensor(x: object) -> bool:
    """Whether `x` is a torch tensor."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(x, torch.Tensor)


# Of `sparsecore.torch_state`, which puts its own here when torch and a first tensor are there.


def is_plain(x: object) -> bool:
    """Whether `x` is a tensor with nothing between it and its numbers."""
    return meet_torch() and is_plain(x)


def is_direct(values: Values, x: Any, out: Values, *others: Values) -> bool:
    """Whether `x` is a plain tensor, and torch would neither cast nor record its product."""
    return meet_torch() and is_direct(values, x, out, *others)


def meet_torch() -> bool:
    """Load what depends on torch if the process has imported it; return whether it has."""
    if "torch" not in sys.modules:
        return False
    from sparsecore import torch_state  # noqa: F401
    from sparsecore.library import calls  # noqa: F401

    return True


def device_of(values: Values) -> Any:
    """Return the device of values: a torch.device, or "cpu" for numpy."""
    return values.device if is_tensor(values) else "cpu"


def on_device(x: object) -> bool:
    """Whether `x` is a torch tensor in the memory of a CUDA device."""
    return is_tensor(x) and bool(x.is_cuda)  # type: ignore[attr-defined]


_DLPACK_CUDA = (2, 13)  # kDLCUDA and kDLCUDAManaged of dlpack.h


def as_met(x: Any) -> Any:
    """Return `x`, or the torch tensor that shares the CUDA memory of another library's array."""
    if isinstance(x, np.ndarray) or is_tensor(x) or not hasattr(x, "__dlpack_device__"):
        return x
    return import_torch().from_dlpack(x) if x.__dlpack_device__()[0] in _DLPACK_CUDA else x


# ---- dtypes ----


def numpy_dtype(dtype: DTypeLike) -> np.dtype[Any]:
    """Return the numpy dtype of a numpy or torch dtype (bfloat16 is that of ml_dtypes)."""
    torch = torch_or_none()
    if torch is not None and isinstance(dtype, torch.dtype):
        return np.dtype(str(dtype).removeprefix("torch."))
    return np.dtype(dtype)


# ---- between the two ----


def to_numpy(x: object, *, name: str) -> Array:
    """View `x` as a numpy array without a copy; a tensor's graph is left behind.

    Parameters
    ----------
    x : numpy array or strided CPU torch tensor
        bfloat16 tensors become arrays of ml_dtypes.bfloat16.
    name : str
        The argument's name, for the message.

    Raises
    ------
    TypeError
        Where `x` is something else, a sparse tensor, or on another device.
    """
    if isinstance(x, np.ndarray):
        return x
    torch = torch_or_none()
    if torch is None or not isinstance(x, torch.Tensor):
        msg = f"{name} is a {type(x).__name__}, expected a numpy array or a torch tensor"
        raise TypeError(msg)
    view = _core.tensor_view(x)
    if view is not None:
        return view
    if x.device.type != "cpu":
        msg = f"{name} is on device {str(x.device)!r}, expected 'cpu'"
        raise TypeError(msg)
    if x.layout != torch.strided:
        msg = f"{name} has layout {x.layout}, expected torch.strided"
        raise TypeError(msg)
    return _viewed(x)


def to_host(tensor: Any) -> Array:
    """Return the values of a tensor of any device as a numpy array; of a device's, a copy.

    This waits for the device. Whatever else takes a tensor for an array refuses one of a device.
    """
    return _viewed(tensor.cpu())


def _viewed(tensor: Any) -> Array:
    torch = import_torch()
    tensor = tensor.detach() if tensor.requires_grad else tensor
    try:
        array: Array = tensor.numpy()
    except TypeError:  # of a dtype that numpy itself has not
        dtype = numpy_dtype(tensor.dtype)
        bits: Array = tensor.view(getattr(torch, _AS_BITS[dtype].name)).numpy()
        return bits.view(dtype)
    return array


def from_numpy(array: Array, *, like: Values) -> Values:
    """Wrap a numpy array in the kind of `like`: without a copy where torch can share the memory."""
    if type(like) is np.ndarray or not is_tensor(like):
        return array
    return as_tensor(array) if like.is_cpu else as_tensor(array, device=like.device)


def as_tensor(array: Array, *, device: Any = None) -> Any:
    """Wrap a numpy array as a torch tensor, copying read-only arrays and negative strides."""
    torch = import_torch()
    if not array.flags.writeable:
        array = array.copy()
    as_bits = _AS_BITS.get(array.dtype)
    bits = array if as_bits is None else array.view(as_bits)
    try:
        tensor = torch.from_numpy(bits)
    except ValueError:  # of negative strides
        tensor = torch.from_numpy(bits.copy())
    if as_bits is not None:
        tensor = tensor.view(getattr(torch, array.dtype.name))
    return tensor if device is None else tensor.to(device)


def torch_values(values: Values) -> Any:
    """Return values as a torch tensor: itself, or a copy of the numpy array."""
    return values if is_tensor(values) else as_tensor(values)


def index_view(index: Any, *, like: Values) -> Any:
    """Return stored indices as the user sees them: the array itself, or an int64 tensor copy.

    (Torch takes a uint8 index for a mask, so its users never get the compact widths.)
    """
    if not is_tensor(like):
        return index
    if is_tensor(index):
        return index.to(import_torch().int64, copy=True)
    return as_tensor(index.astype(np.int64), device=like.device)


def read_only(values: Values) -> Values:
    """Return a read-only view of a numpy array; a tensor is returned as it is."""
    if is_tensor(values):
        return values
    view = values.view()
    view.flags.writeable = False
    return view


def is_float8(dtype: DTypeLike) -> bool:
    """Whether a dtype of numpy's or torch's is one of `FLOAT8_DTYPES`."""
    return dtype.itemsize == 1 and numpy_dtype(dtype).name in FLOAT8_DTYPES


def cast(values: Values, dtype: np.dtype[Any]) -> Values:
    """Convert values as numpy's and torch's own casts do; differentiable for torch."""
    if is_tensor(values):
        return values.to(getattr(torch_or_none(), dtype.name))
    return values.astype(dtype)


def copy_values(values: Values) -> Values:
    """Return values in memory of their own; for torch, differentiable."""
    return values.clone() if is_tensor(values) else values.copy()


# ---- values moved as indices are ----


def concatenate(a: Values, b: Values, *, name: str) -> Values:
    """Join two 1-D vectors of values; differentiable for torch.

    Raises
    ------
    TypeError
        Where one is numpy's and one torch's, or the dtypes differ; `name` is what `b` is called.
    """
    if is_tensor(a) != is_tensor(b) or a.dtype != b.dtype:
        msg = f"{name} is {_kind(b)}, the matrix has {_kind(a)}"
        raise TypeError(msg)
    if is_tensor(a):
        return torch_or_none().cat([a, b])
    return np.concatenate([a, b])


def _kind(values: Values) -> str:
    return str(values.dtype) if is_tensor(values) else f"numpy {values.dtype}"


def take(data: Values, order: Any) -> Values:
    """Return ``data[order]`` (`data` itself where `order` is None); differentiable for torch.

    `order` holds int64: numpy's, or a tensor of the device of `data`.
    """
    if order is None:
        return data
    if is_tensor(order):
        return data.index_select(0, order)
    if is_tensor(data):
        return data.index_select(0, as_tensor(order, device=data.device))
    return data[order]


def combine(data: Values, order: Int64 | None, starts: Int64 | None) -> Values:
    """Reorder a tensor, then sum each run of duplicates; differentiable.

    Parameters
    ----------
    data : (k,) torch.Tensor
    order : (k,) int64 or None
        Positions of `data` in canonical order; None keeps the order.
    starts : (s,) int64 or None
        Where each run begins in that order; None where every run has one member.

    Returns
    -------
    (s,) torch.Tensor
        fp16 and bf16 are summed in fp32 and rounded once.
    """
    data = take(data, order)
    if starts is None:
        return data
    torch = import_torch()
    lengths = np.diff(starts, append=len(data))
    runs = as_tensor(np.repeat(np.arange(len(starts)), lengths), device=data.device)
    wide = torch.float32 if numpy_dtype(data.dtype) in _HALVES else data.dtype
    # -0.0, unlike 0.0, changes no sum: that of negative zeros stays one.
    sums = torch.full((len(starts),), -0.0, dtype=wide, device=data.device)
    return sums.index_add(0, runs, data.to(wide)).to(data.dtype)
