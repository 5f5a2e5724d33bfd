"""Which kernel multiplies a 2:4 matrix on a CUDA device, and the packed forms that some read.

The canonical layout serves every product: by tensor cores where there are few columns, else by a
plain kernel. Where there are many, two kernels read another form of the matrix, which is made by
the first product and kept with the structure as long as the values are the same tensor, unchanged.
"""

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

__all__ = ["PACKED", "Call", "Kernel24", "choose", "is_possible", "run", "run_by", "work"]

Kernel24: TypeAlias = Literal["canonical", "wide", "cusparselt"]
PACKED: tuple[Kernel24, ...] = ("wide", "cusparselt")
# What the canonical layout's kernel for tensor cores takes (csrc/cuda/tiles24.cu).
_MOST_TILE_COLUMNS = 128


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
    """Return the kernel of a product: the pattern's shape, dtypes and layouts decide.

    What `sparsecore.cuda.calibrate` has measured on this device says which is fastest. Where it was
    not called, few columns go by the canonical layout, and many by the first other one that can.
    """
    others = [kernel for kernel in PACKED if is_possible(kernel, call)]
    if not others:
        return "canonical"
    n = call.X.shape[1]
    may_be_tiles = n <= _MOST_TILE_COLUMNS and call.structure.shape[1] % 64 == 0
    costs = known_costs(call.structure.device, call.X.dtype)
    if not all(kernel in costs for kernel in others) or "canonical" not in costs:
        return "canonical" if may_be_tiles else others[0]
    todo = work(call.structure.shape, n, call.X.itemsize)
    able: list[Kernel24] = ["canonical", *others] if may_be_tiles else others
    return min(able, key=lambda kernel: costs[kernel].seconds(todo))


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
    """Whether a kernel can run a product, without waiting and without other results than ours."""
    X, out, shape = call.X, call.out, call.structure.shape
    if kernel == "canonical":
        return True
    if interop.numpy_dtype(X.dtype).name not in ("float16", "bfloat16"):
        return False
    is_plain = X.ndim == 2 and X.dtype == call.values.dtype == out.dtype
    if not (is_plain and tuple(X.shape) == (shape[1], X.shape[1]) and min(X.shape) > 0):
        return False
    if tuple(out.shape) != (shape[0], X.shape[1]):
        return False
    if kernel == "wide":
        return _core.device_has_wide24()
    return _suits_cusparselt(call) and _has_cusparselt() and _has_two_nonzeros_a_group(call)


# ---- forms that are kept ----


@dataclass(frozen=True, slots=True)
class Kept:
    """A form of a matrix, and which values it was made of."""

    values: "weakref.ref[Any]"
    version: int
    stream: int
    form: Any


def _packed(kernel: str, call: Call, make: Callable[[], Any]) -> Any:
    """Return a form of the values as they are now: the one that is kept, or a new one.

    What a graph captures is made in the graph, whose replays read values that may have changed.
    Tensors of inference mode do not tell whether they have, and nothing of theirs is kept.
    """
    torch = interop.import_torch()
    values, kept = call.values, call.structure.kept
    if values.is_inference() or (values.is_cuda and torch.cuda.is_current_stream_capturing()):
        return make()
    found, stream = kept.get(kernel), stream_of(values.device)
    if (
        found is not None
        and found.values() is values
        and (found.version, found.stream) == (values._version, stream)
    ):
        return found.form
    form = make()
    kept[kernel] = Kept(weakref.ref(values), values._version, stream, form)
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

    It waits for the device when it compresses, so not for values that are trained or captured.
    """
    torch = interop.import_torch()
    m, k = call.structure.shape
    if m % 16 or k % 16 or call.X.shape[1] % 8 or call.values.requires_grad:
        return False
    if call.scale is not None or call.residual is not None or call.activation is not None:
        return False
    if call.bias is not None and call.bias.dtype != call.X.dtype:
        return False
    if call.values.is_cuda and torch.cuda.is_current_stream_capturing():
        return False
    return all(map(_is_aligned, (call.X, call.out))) and (
        call.bias is None or call.bias.is_contiguous()
    )


def _is_aligned(x: Any) -> bool:
    """Whether rows or columns are contiguous, and all begin at multiples of 16 bytes."""
    lines = [x.stride(i) for i in (0, 1) if x.stride(1 - i) == 1 and x.stride(i) >= x.shape[1 - i]]
    return bool(lines) and lines[0] * x.itemsize % 16 == 0 and x.data_ptr() % 16 == 0


def _has_two_nonzeros_a_group(call: Call) -> bool:
    """Whether all slots hold nonzeros: else the library would choose which zeros meet X."""
    torch = interop.import_torch()
    return bool(_packed("nonzero", call, lambda: bool(torch.all(call.values != 0))))
