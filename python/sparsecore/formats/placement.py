"""In which memory a matrix lies, the host's or a CUDA device's, and from one to the other."""

from typing import Any, TypeAlias

import numpy as np

from sparsecore import _core, interop
from sparsecore.formats.frozen import frozen
from sparsecore.interop import Array, Values

# A `_core.CsrStructure` or `_core.Sparse24Structure`, or what stands for it on a device, with the
# same methods: `DeviceStructure` of `sparsecore.cuda.structure`, `DeviceSparse24` of its neighbour.
Structure: TypeAlias = Any
_Host = _core.CsrStructure | _core.Sparse24Structure


def moved(values: Values, device: Any, *, name: str) -> Values:
    """Return `values` on `device`: "cpu", or a CUDA device, where numpy's become a tensor.

    Raises
    ------
    RuntimeError
        Where the device is none that is there; says why.
    """
    if is_host(device):
        return values.cpu() if interop.on_device(values) else values
    why = _why_not(device)
    if why:
        msg = f"{name}: device {str(device)!r} is not available: {why}"
        raise RuntimeError(msg)
    there = interop.torch_values(values).to(device)
    return there if interop.on_device(there) else values


def is_host(device: Any) -> bool:
    """Whether `device`, as a caller names one, is the host."""
    return str(device) == "cpu"


def _why_not(device: Any) -> str:
    try:
        torch = interop.import_torch()
        kind = torch.device(device).type
    except (ImportError, RuntimeError, TypeError) as error:
        return str(error).partition("\n")[0]
    if kind == "cpu":
        return ""
    if kind != "cuda":
        return "matrices live on 'cpu' or on a CUDA device"
    from sparsecore import cuda

    return cuda.reason() or ("" if torch.cuda.is_available() else "this torch has no CUDA")


# ---- structures and indices beside values that were moved ----


def moved_structure(structure: Structure, data: Values, device: Any) -> Structure:
    """Return a structure where `data`, moved to `device` as a caller named it, now are."""
    if is_host(device) or not interop.on_device(data):
        return structure if isinstance(structure, _Host) else structure.to_host()
    from sparsecore.cuda import construct, structure24

    is_24 = isinstance(structure, _core.Sparse24Structure | structure24.DeviceSparse24)
    maker: Any = structure24 if is_24 else construct
    if isinstance(structure, _Host):
        return maker.from_host(structure, data.device)
    return maker.to_device(structure, data.device)


def moved_index(index: Any, data: Values, device: Any) -> Any:
    """Return stored indices where `data`, moved to `device`, now are; immutable on the host."""
    if is_host(device) or not interop.on_device(data):
        return frozen(stored_on_host(index)) if interop.is_tensor(index) else index
    if interop.is_tensor(index):
        return index.to(data.device)
    from sparsecore.cuda import construct

    return construct.index_from_host(index, data.device)


def stored_dtype(index: Any) -> np.dtype[Any]:
    """Return the dtype of stored indices on the host: unsigned, in the same width."""
    return np.dtype(f"u{index.itemsize}")


def stored_on_host(index: Any) -> Array:
    """Return stored indices as an array of the host, of the dtype that they have there."""
    array = interop.to_host(index) if interop.is_tensor(index) else index
    return array.view(stored_dtype(array))


def same_structure(a: Structure, b: Structure) -> bool:
    """Whether two structures, of whatever memory, have the same shape and positions."""
    if type(a) is type(b) and getattr(a, "device", None) == getattr(b, "device", None):
        return bool(a.equals(b))
    on_host: Any = (s if isinstance(s, _Host) else s.to_host() for s in (a, b))
    mine, theirs = on_host
    return bool(mine.equals(theirs))


# ---- what has to be in one memory ----


def check_same_memory(x: Any, like: Values, *, name: str) -> None:
    """Raise TypeError where one of two is in the memory of a device, and the other is not there.

    Also where they are on two devices. numpy's arrays and tensors of the host share theirs.
    """
    if not interop.on_device(like) and not interop.on_device(x):
        return
    if interop.on_device(like) and interop.on_device(x) and x.device == like.device:
        return
    msg = f"{name} is {_place_of(x)}, the values are {_place_of(like)}: move one of them"
    raise TypeError(msg)


def _place_of(x: Any) -> str:
    if interop.is_tensor(x):
        return f"on device {str(x.device)!r}"
    return f"a numpy {x.dtype} array" if isinstance(x, np.ndarray) else f"a {type(x).__name__}"
