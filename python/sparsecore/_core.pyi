# The compiled core: structures that own validated indices, and the operations on them.
#
# Products take numpy arrays and torch tensors and return what X is. All else takes numpy's arrays
# (``interop`` views tensors as such) and returns them. Nothing here is public: use the functions
# and classes of ``sparsecore`` itself.

from collections.abc import Callable
from typing import Any, Literal, TypeAlias, final

import numpy as np
import numpy.typing as npt

_Array: TypeAlias = npt.NDArray[Any]
_Values: TypeAlias = Any  # an array or a tensor
_Int64: TypeAlias = npt.NDArray[np.int64]
_Activation: TypeAlias = Literal["relu", "gelu", "silu"]
_Duplicates: TypeAlias = Literal["sum", "error"]

__version__: str

# structure, order, starts, values. `values` are those given, sorted and summed. Where none were
# given, `order` (None: the input was canonical) lists the input positions in canonical order and
# `starts` (None: there was no duplicate) where each run of equal coordinates begins in that order.
_Canonical: TypeAlias = tuple[CsrStructure, _Int64 | None, _Int64 | None, _Array | None]

@final
class CsrStructure:
    # Row offsets and columns of a CSR matrix: validated, canonical, immutable, in compact widths.

    @property
    def nbytes(self) -> int: ...
    @property
    def shape(self) -> tuple[int, int]: ...
    @property
    def nnz(self) -> int: ...
    @property
    def indptr(self) -> _Array: ...
    @property
    def indices(self) -> _Array: ...
    def row_bounds(self, row: int) -> tuple[int, int]: ...
    def row_columns(self, row: int) -> _Int64: ...
    def row_ids(self) -> _Int64: ...
    def gather_rows(self, rows: _Int64, values: _Array | None, threads: int) -> _Canonical: ...
    def transpose(self, values: _Array | None, threads: int) -> _Canonical: ...
    def to_dense(self, values: _Array) -> _Array: ...
    def check(self) -> None: ...
    def equals(self, other: CsrStructure) -> bool: ...

@final
class Sparse24Structure:
    # The 2-bit column positions of a 2:4 matrix: validated and immutable.

    def __init__(self, metadata: _Array, shape: tuple[int, int]) -> None: ...
    @property
    def shape(self) -> tuple[int, int]: ...
    @property
    def metadata(self) -> npt.NDArray[np.uint8]: ...
    def column_ids(self) -> _Int64: ...
    def to_dense(self, values: _Array) -> _Array: ...
    def check(self) -> None: ...
    def equals(self, other: Sparse24Structure) -> bool: ...

@final
class Plan:
    # A matrix prepared for many products; it snapshots the values.

    @property
    def structure(self) -> CsrStructure: ...
    @property
    def kernel(self) -> str: ...
    @property
    def nbytes(self) -> int: ...
    @property
    def keeps_structure(self) -> bool: ...
    @property
    def shape(self) -> tuple[int, int]: ...
    @property
    def nnz(self) -> int: ...
    def update(self, values: _Array, threads: int) -> None: ...
    def unpack(self, threads: int) -> _Array: ...

# Where values are None, they stay with the caller. Arrays that are canonical leave them alone, too.
def csr_from_arrays(
    indptr: _Int64,
    indices: _Int64,
    shape: tuple[int, int],
    duplicates: _Duplicates,
    values: _Array | None,
    threads: int,
) -> _Canonical: ...
def csr_from_triplets(
    row: _Array,
    col: _Array,
    shape: tuple[int, int],
    duplicates: _Duplicates,
    values: _Array | None,
    threads: int,
) -> _Canonical: ...

# The same as ((row, col), order, starts, values), without memory for rows that hold nothing.
def sum_triplets(
    row: _Array, col: _Array, shape: tuple[int, int], values: _Array | None, threads: int
) -> tuple[tuple[_Array, _Array], _Int64 | None, _Int64 | None, _Array | None]: ...

# The indices, which must be in [0, limit), in the smallest width; nobody can make them writable.
def narrow(indices: _Int64 | npt.NDArray[np.int32], limit: int, name: str) -> _Array: ...
def csr_from_dense(dense: _Array, threads: int) -> tuple[CsrStructure, _Array]: ...

@final
class ConvPlan:
    # A sparse convolution, packed.

    @property
    def structure(self) -> CsrStructure: ...
    @property
    def shape(self) -> tuple[int, int]: ...
    @property
    def nnz(self) -> int: ...
    @property
    def nbytes(self) -> int: ...
    @property
    def kernel(self) -> str: ...
    def update(self, values: _Array, threads: int) -> None: ...
    def unpack(self, threads: int) -> _Array: ...

# Raises where weights of this shape do not fit the geometry.
def check_conv2d(
    shape: tuple[int, int],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    groups: int,
) -> None: ...
def prepare_conv2d(
    weights: CsrStructure,
    values: _Array,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    groups: int,
    threads: int,
) -> ConvPlan: ...
def conv2d(
    plan: ConvPlan,
    x: _Values,
    out: _Values | None,
    threads: int | None,
    scale: _Values | None = None,
    bias: _Values | None = None,
    residual: _Values | None = None,
    activation: str | None = None,
    /,
) -> _Values: ...

class MaxPool:
    def __init__(
        self, kernel: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int]
    ) -> None: ...

class Chain:
    # Layers: what runs, its input, its residual, scale, bias, activation, and whether it stands for
    # torch's pad of a slice. Values are numbered: the inputs, then each layer's result.
    def __init__(
        self,
        inputs: int,
        layers: list[
            tuple[
                ConvPlan | Plan | MaxPool,
                int,
                int | None,
                _Values | None,
                _Values | None,
                str | None,
                bool,
            ]
        ],
        outputs: list[int],
    ) -> None: ...

def run_chain(chain: Chain, threads: int | None, /, *inputs: _Values) -> Any: ...

# `columns`: the number of right-hand columns expected; negative where it is not known.
# `kernel`: empty for the one that suits them.
def prepare_csr(
    structure: CsrStructure,
    values: _Array,
    columns: int,
    backward: bool,
    by_rows: bool,
    kernel: str,
    threads: int,
) -> Plan: ...
def prune_24(dense: _Array, threads: int) -> npt.NDArray[np.bool_]: ...
def compress_24(dense: _Array, prune: bool, threads: int) -> tuple[Sparse24Structure, _Array]: ...

# Where a layout of the hardware has each nibble of `shape`, rows and groups.
def metadata_positions(layout: str, shape: tuple[int, int]) -> _Int64: ...

# A view of a CPU tensor's memory; None where only torch can make it.
def tensor_view(tensor: Any) -> _Array | None: ...

# Products. `threads`: None for as many as `get_num_threads` says. `by_rows`: x, residual and out
# have a row for each product, as a layer's have: (n, k) and (n, m).
def plan_matmul(
    plan: Plan,
    x: _Values,
    out: _Values,
    threads: int | None,
    name: str,
    transposed: bool = False,
    by_rows: bool = False,
    scale: _Values = None,
    bias: _Values = None,
    residual: _Values = None,
    activation: _Activation | None = None,
    /,
) -> _Values: ...
def csr_matmul(
    structure: CsrStructure,
    values: _Values,
    x: _Values,
    out: _Values,
    threads: int | None,
    name: str,
    transposed: bool = False,
    by_rows: bool = False,
    scale: _Values = None,
    bias: _Values = None,
    residual: _Values = None,
    activation: _Activation | None = None,
    /,
) -> _Values: ...
def sparse24_matmul(
    structure: Sparse24Structure,
    values: _Values,
    x: _Values,
    out: _Values,
    threads: int | None,
    name: str,
    transposed: bool = False,
    by_rows: bool = False,
    scale: _Values = None,
    bias: _Values = None,
    residual: _Values = None,
    activation: _Activation | None = None,
    /,
) -> _Values: ...

# The dtypes of results. Of arrays, only the dtypes are read; errors are those of the products.
def product_dtype(name: str, values: _Array, x: _Array, has_scale: bool) -> np.dtype[Any]: ...
def sddmm_dtype(u: _Array, v: _Array) -> np.dtype[Any]: ...
def csr_sddmm(structure: CsrStructure, u: _Array, v: _Array, threads: int) -> _Array: ...
def target() -> str: ...
def supported_targets() -> list[str]: ...
def compiled_targets() -> list[str]: ...
def set_target(name: str) -> None: ...

# For tests: what suits AMD's processors, or others', on any; None goes back to the true maker.
def tune_as_amd(is_amd: bool | None) -> None: ...
def cuda_status() -> tuple[bool, str]: ...

# Whether the CUDA side runs on the processor, in tests (see tests/emulated_cuda).
cuda_is_emulated: bool

# ---- of a build with CUDA only; tensors are of one device, `stream` is the current one of it ----

@final
class DeviceCsr:
    @property
    def shape(self) -> tuple[int, int]: ...
    @property
    def nnz(self) -> int: ...
    @property
    def pieces(self) -> int: ...
    @property
    def tensors(self) -> list[Any]: ...
    @property
    def indptr_width(self) -> int: ...
    @property
    def indices_width(self) -> int: ...
    @property
    def indptr(self) -> Any: ...
    @property
    def indices(self) -> Any: ...

# Of valid arrays. Without `allocate` long rows stay whole.
def device_csr_adopted(
    shape: tuple[int, int],
    offsets: Any,
    columns: Any,
    allocate: Callable[[int], Any] | None = None,
    stream: int = 0,
) -> DeviceCsr: ...

# What follows returns results as uint8 tensors, and None where the host has to say what is wrong.
# With it, whether rows are ascending; where not, it still has to be sorted.
def device_csr_from_arrays(
    indptr: Any,
    indices: Any,
    shape: tuple[int, int],
    allocate: Callable[[int], Any],
    stream: int,
) -> tuple[DeviceCsr, bool] | None: ...

# With the order and the starts.
def device_csr_from_triplets(
    row: Any,
    col: Any,
    shape: tuple[int, int],
    with_duplicates: bool,
    allocate: Callable[[int], Any],
    stream: int,
) -> tuple[DeviceCsr, Any, Any] | None: ...

# (row, col, order, starts)
def device_sum_triplets(
    row: Any, col: Any, shape: tuple[int, int], allocate: Callable[[int], Any], stream: int
) -> tuple[Any, Any, Any, Any]: ...
def device_narrow(
    indices: Any, limit: int, allocate: Callable[[int], Any], stream: int
) -> Any | None: ...

# Whether every sum fits the dtype.
def device_sum_runs(
    values: Any,
    order: Any,
    starts: Any,
    out: Any,
    allocate: Callable[[int], Any],
    stream: int,
) -> bool: ...
def device_csr_from_dense(
    dense: Any, allocate: Callable[[int], Any], stream: int
) -> tuple[DeviceCsr, Any]: ...
def device_csr_to_dense(csr: DeviceCsr, values: Any, out: Any, stream: int) -> None: ...
def device_row_ids(csr: DeviceCsr, allocate: Callable[[int], Any], stream: int) -> Any: ...

# With the values where they are given, else with the order.
def device_gather_rows(
    csr: DeviceCsr, rows: Any, values: Any, allocate: Callable[[int], Any], stream: int
) -> tuple[DeviceCsr, Any, Any] | None: ...
def device_transpose(
    csr: DeviceCsr, allocate: Callable[[int], Any], stream: int
) -> tuple[DeviceCsr, Any]: ...

# Writes `out`. Where A.T is meant, `transposed` returns it with its values: it is called once the
# arguments, which `csr` and `values` are of A for, are known to agree.
def device_csr_matmul(
    csr: DeviceCsr,
    values: Any,
    x: Any,
    out: Any,
    name: str,
    transposed: Callable[[], tuple[DeviceCsr, Any]] | None,
    scale: Any,
    bias: Any,
    residual: Any,
    activation: str | None,
    kernel: str,
    allocate: Callable[[int], Any],
    stream: int,
) -> None: ...

@final
class DeviceStrips:
    def __init__(
        self,
        csr: DeviceCsr,
        values: Any,
        kernel: str,
        allocate: Callable[[int], Any],
        stream: int,
    ) -> None: ...
    @property
    def nbytes(self) -> int: ...
    @property
    def tensors(self) -> tuple[Any, Any, Any]: ...
    def with_values(
        self, csr: DeviceCsr, values: Any, allocate: Callable[[int], Any], stream: int
    ) -> DeviceStrips: ...
    def unpack(
        self, csr: DeviceCsr, values: Any, allocate: Callable[[int], Any], stream: int
    ) -> None: ...
    def matmul(
        self,
        csr: DeviceCsr,
        x: Any,
        out: Any,
        name: str,
        scale: Any,
        bias: Any,
        residual: Any,
        activation: str | None,
        allocate: Callable[[int], Any],
        stream: int,
    ) -> None: ...

def device_architecture(device: int) -> str: ...

# NVIDIA's library, opened at run time. `device` is the index of the current one.
@final
class DeviceCusparseLt:
    def __init__(self, override_path: str, folders: list[str]) -> None: ...
    @property
    def version(self) -> str: ...
    @property
    def path(self) -> str: ...
    def compress(
        self, w: Any, device: int, allocate: Callable[[int], Any], stream: int
    ) -> DeviceCusparseLtMatrix: ...
    # Plans of the calling thread: (made, reused, held).
    def plans(self, device: int) -> tuple[int, int, int]: ...

@final
class DeviceCusparseLtMatrix:
    @property
    def shape(self) -> tuple[int, int]: ...
    @property
    def nbytes(self) -> int: ...
    @property
    def version(self) -> str: ...
    # An algorithm is (config_id, split_k, split_k_mode, split_k_buffers).
    def matmul(
        self,
        x: Any,
        out: Any,
        name: str,
        scale: Any,
        bias: Any,
        activation: str | None,
        algorithm: tuple[int, int, int, int] | None,
        allocate: Callable[[int], Any],
        stream: int,
    ) -> None: ...
    def search(
        self, x: Any, scratch: Any, name: str, allocate: Callable[[int], Any], stream: int
    ) -> tuple[int, int, int, int]: ...

def device_csr_sddmm(
    csr: DeviceCsr, u: Any, v: Any, out: Any, allocate: Callable[[int], Any], stream: int
) -> None: ...

# ---- 2:4 on a device: metadata and values are contiguous and 1-D ----

# `mask` has a byte for each item.
def device_prune_24(dense: Any, mask: Any, allocate: Callable[[int], Any], stream: int) -> None: ...

# (values, metadata) as uint8 tensors; None where the host has to say which group is not 2:4.
def device_compress_24(
    dense: Any, prune: bool, allocate: Callable[[int], Any], stream: int
) -> tuple[Any, Any] | None: ...
def device_sparse24_is_valid(
    metadata: Any,
    shape: tuple[int, int],
    values: Any,
    allocate: Callable[[int], Any],
    stream: int,
) -> bool: ...

# int64 columns of the slots, as a uint8 tensor.
def device_sparse24_columns(
    metadata: Any, shape: tuple[int, int], allocate: Callable[[int], Any], stream: int
) -> Any: ...
def device_sparse24_to_dense(
    metadata: Any, shape: tuple[int, int], values: Any, out: Any, stream: int
) -> None: ...
def device_sparse24_matmul(
    metadata: Any,
    shape: tuple[int, int],
    values: Any,
    x: Any,
    out: Any,
    name: str,
    scale: Any,
    bias: Any,
    residual: Any,
    activation: _Activation | None,
    allocate: Callable[[int], Any],
    stream: int,
) -> str: ...

# Whether the current device can run what DeviceWide24 is packed for.
def device_has_wide24() -> bool: ...

@final
class DeviceWide24:
    def __init__(
        self,
        metadata: Any,
        shape: tuple[int, int],
        values: Any,
        allocate: Callable[[int], Any],
        stream: int,
    ) -> None: ...
    @property
    def nbytes(self) -> int: ...
    def matmul(
        self,
        x: Any,
        out: Any,
        name: str,
        scale: Any,
        bias: Any,
        residual: Any,
        activation: _Activation | None,
        allocate: Callable[[int], Any],
        stream: int,
    ) -> None: ...
