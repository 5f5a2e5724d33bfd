"""Which kernel multiplies a 2:4 matrix on a CUDA device, and the packed forms that some read.

The canonical layout serves every product: by tensor cores where dtypes, shape and addresses are
theirs (``csrc/cuda/tiles24.h``), else by a plain kernel. Where an X of 16 bits, as the values, has
many columns, two kernels read another form of the matrix, which is made by the first product and
kept with the structure as long as the values are the same tensor, unchanged. int8 has no other:
cuSPARSELt may round its sums beyond 2^24.
"""

import warnings
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, TypeAlias

from sparsecore import _core, interop
from sparsecore.cuda import cusparselt
from sparsecore.cuda.calibration import known_costs
from sparsecore.cuda.costs import Work
from sparsecore.cuda.current import current, stream_of
from sparsecore.cuda.libraries import open_cusparselt
from sparsecore.cuda.structure24 import DeviceSparse24

__all__ = ["KERNELS", "Call", "Kernel24", "choose", "is_possible", "run", "run_by", "work"]

Kernel24: TypeAlias = Literal["canonical", "wide", "cusparselt"]
PACKED: tuple[Kernel24, ...] = ("wide", "cusparselt")
KERNELS: tuple[Kernel24, ...] = ("canonical", *PACKED)
# Up to here the canonical layout is read by tensor cores no more than four times.
_FEW_COLUMNS = 128


@dataclass(frozen=True, slots=True)
class Call:
    """A product ``out = activation(scale * (S @ X) + bias + residual)`` on a device.

    Attributes
    ----------
    structure : DeviceSparse24, (m, k)
    values : (m, 2 * ceil(k / 4)) tensor
    X, out : (k, n), (m, n) or (k,), (m,) tensors
    name : str
        What errors call the product.
    scale, bias, residual, activation
        As `_core.device_sparse24_matmul` takes them.
    """

    structure: DeviceSparse24
    values: Any
    X: Any
    out: Any
    name: str
    scale: Any = None
    bias: Any = None
    residual: Any = None
    activation: str | None = None

    @property
    def epilogue(self) -> tuple[Any, Any, Any, str | None]:
        """What follows the sums, in the core's order."""
        return self.scale, self.bias, self.residual, self.activation


def run(call: Call) -> str:
    """Write a product to its `out`, by the kernel that is chosen for it; return which ran."""
    kernel = choose(call)
    if kernel != "cusparselt":
        return run_by(kernel, call)
    try:
        return run_by(kernel, call)
    except (RuntimeError, MemoryError) as error:  # the library's: arguments were looked at before
        call.structure.failed.add(kernel)
        text = f"{call.name}: this matrix is multiplied without cuSPARSELt from now on: {error}"
        warnings.warn(text, RuntimeWarning, stacklevel=2)
        return run_by(choose(call), call)


def run_by(kernel: Kernel24, call: Call) -> str:
    """Do so by a kernel for which `is_possible` is true."""
    with current(call.values) as (allocate, stream):
        if kernel == "wide":
            wide = _packed(kernel, call, lambda: _as_wide(call, allocate, stream))
            wide.matmul(call.X, call.out, call.name, *call.epilogue, allocate, stream)
            return "wgmma.sp"
        if kernel == "cusparselt":
            compressed = _packed(kernel, call, lambda: _as_cusparselt(call))
            cusparselt.matmul(compressed, call.X.detach(), bias=call.bias, out=call.out)
            return f"cusparselt {compressed.version}"
        slots = call.values.contiguous().view(-1)
        places = call.structure.metadata.view(-1), call.structure.shape
        return _core.device_sparse24_matmul(
            *places, slots, call.X, call.out, call.name, *call.epilogue, allocate, stream
        )


def choose(call: Call) -> Kernel24:
    """Return the kernel of a product.

    Where `sparsecore.cuda.calibrate` has measured this device, the one that should take least. Else
    few columns go by the canonical layout, and many by the first other kernel that can: shapes,
    dtypes, strides and addresses decide, and for cuSPARSELt whether the values may be its own
    (`is_possible`).
    """
    if not _is_plain(call):
        return "canonical"
    n, has_tiles = call.X.shape[1], call.structure.shape[1] % 64 == 0
    costs = known_costs(call.structure.device, call.X.dtype)
    if not costs:
        if has_tiles and n <= _FEW_COLUMNS:
            return "canonical"
        return next((kernel for kernel in PACKED if is_possible(kernel, call)), "canonical")
    todo = work(call.structure.shape, n, call.X.itemsize)
    measured = [kernel for kernel in KERNELS if kernel in costs]
    ranked = sorted(measured, key=lambda kernel: costs[kernel].seconds(todo))
    able = (kernel for kernel in ranked if kernel != "canonical" or has_tiles)
    return next((kernel for kernel in able if is_possible(kernel, call)), "canonical")


def work(shape: tuple[int, int], n: int, itemsize: int) -> Work:
    """Return what a product with n columns has to do, of stored entries only.

    Examples
    --------
    >>> from sparsecore.cuda import kernels24
    >>> kernels24.work((16, 32), 8, 2)
    Work(nbytes=1344, operations=4096)
    """
    m, k = shape
    stored = m * k // 2 * itemsize + m * k // 8
    return Work(nbytes=stored + (m + k) * n * itemsize, operations=m * k * n)


def is_possible(kernel: Kernel24, call: Call) -> bool:
    """Whether a kernel can run a product, and gives what the others would.

    For cuSPARSELt that takes values that are all nonzero and require no gradient. Whether they are
    nonzero is read once, which waits for the device.
    """
    if kernel == "canonical":
        return True
    if not _is_plain(call):
        return False
    if kernel == "wide":
        return _has_wide(call.structure.device)
    return (
        _suits_cusparselt(call)
        and _has_cusparselt()
        and kernel not in call.structure.failed
        and _has_two_nonzeros_a_group(call)
    )


def _is_plain(call: Call) -> bool:
    """Whether operands are matrices of 16 bits that agree; all else reads the canonical layout."""
    X, out, (m, k) = call.X, call.out, call.structure.shape
    return bool(
        X.ndim == 2
        and X.dtype == call.values.dtype == out.dtype
        and interop.numpy_dtype(X.dtype).name in ("float16", "bfloat16")
        and min(m, *X.shape) > 0
        and (len(X), tuple(out.shape)) == (k, (m, X.shape[1]))
    )


@cache
def _has_wide(device: Any) -> bool:
    if _core.cuda_is_emulated:
        return _core.device_has_wide24()
    with interop.import_torch().cuda.device(device):
        return _core.device_has_wide24()


# ---- forms that are kept ----


@dataclass(frozen=True, slots=True)
class Kept:
    """A form of a matrix, and which values it was made of."""

    values: "weakref.ref[Any]"
    state: tuple[object, ...]
    form: Any


def _packed(kernel: str, call: Call, make: Callable[[], Any]) -> Any:
    """Return a form of the values as they are now: the one that is kept, or a new one.

    What a graph captures is made in the graph, whose replays read values that may have changed.
    Tensors of inference mode do not tell whether they have, and nothing of theirs is kept. Writes
    through ``.data``, which no version counts, are seen only where they change the memory.
    """
    torch = interop.import_torch()
    values, kept = call.values, call.structure.kept
    if values.is_inference() or (values.is_cuda and torch.cuda.is_current_stream_capturing()):
        return make()
    found = kept.get(kernel)
    state = (values._version, values.data_ptr(), values.dtype, stream_of(values.device))
    if found is not None and found.values() is values and found.state == state:
        return found.form
    form = make()
    kept[kernel] = Kept(weakref.ref(values), state, form)
    return form


def _as_wide(call: Call, allocate: Callable[[int], Any], stream: int) -> Any:
    slots = call.values.detach().contiguous().view(-1)
    metadata = call.structure.metadata.view(-1)
    return _core.DeviceWide24(metadata, call.structure.shape, slots, allocate, stream)


def _as_cusparselt(call: Call) -> cusparselt.CompressedMatrix:
    return cusparselt.compress(call.structure.to_dense(call.values))


# ---- cuSPARSELt ----


@cache
def _has_cusparselt() -> bool:
    """Whether there is a copy, asked once: `sparsecore.cuda.libraries` looks again."""
    try:
        open_cusparselt()
    except RuntimeError:  # which says what is missing to whoever asks for the library
        return False
    return True


def _suits_cusparselt(call: Call) -> bool:
    """Whether the library takes a product as it is, and gives what ours would.

    It waits for the device when it compresses, so not for values that are trained or captured, nor
    for those of which no form would be kept.
    """
    torch = interop.import_torch()
    m, k = call.structure.shape
    if m % 16 or k % 16 or call.X.shape[1] % 8:
        return False
    if call.values.requires_grad or call.values.is_inference():
        return False
    if call.scale is not None or call.residual is not None or call.activation is not None:
        return False
    if call.bias is not None and not _suits_as_bias(call.bias, m, call.X.dtype):
        return False
    if _memory(call.X) == _memory(call.out):  # they may overlap
        return False
    if call.values.is_cuda and torch.cuda.is_current_stream_capturing():
        return False
    return _is_aligned(call.X) and _is_aligned(call.out)


def _suits_as_bias(bias: Any, m: int, dtype: Any) -> bool:
    fits = tuple(bias.shape) == (m,) and bias.dtype == dtype
    return fits and bias.is_contiguous() and bias.data_ptr() % 16 == 0


def _memory(x: Any) -> int:
    return int(x.untyped_storage().data_ptr())


def _is_aligned(x: Any) -> bool:
    """Whether rows or columns are contiguous, and all begin at multiples of 16 bytes."""
    lines = [x.stride(i) for i in (0, 1) if x.stride(1 - i) == 1 and x.stride(i) >= x.shape[1 - i]]
    return bool(lines) and lines[0] * x.itemsize % 16 == 0 and x.data_ptr() % 16 == 0


def _has_two_nonzeros_a_group(call: Call) -> bool:
    """Whether all slots hold nonzeros: else the library would choose which zeros meet X."""
    torch = interop.import_torch()
    return bool(_packed("nonzero", call, lambda: bool(torch.all(call.values != 0))))
