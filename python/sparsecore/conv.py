"""Convolutions with sparse weights.

The weight is a CSR matrix, (out_channels, in_channels / groups * kernel_h * kernel_w): the rows of
torch's conv2d weight, flattened.
"""

from dataclasses import asdict
from typing import Any, final

import numpy as np

from sparsecore import _core, dense, interop
from sparsecore.conv_geometry import ConvGeometry
from sparsecore.cuda.structure import DeviceStructure
from sparsecore.formats import CSR
from sparsecore.interop import Values
from sparsecore.library.handle import handle_of
from sparsecore.ops import ACTIVATIONS, Activation
from sparsecore.threads import checked, get_num_threads

__all__ = ["ConvPlan", "conv2d"]


@final
class ConvPlan:
    """A sparse convolution made ready for many images: the weights packed, a snapshot.

    Gradients pass through to the images, not to the values.

    Parameters
    ----------
    A : CSR, (out_channels, in_channels / groups * kernel_h * kernel_w)
    kernel_size, stride, padding, dilation : int or (int, int)
        As in torch's ``conv2d``; padding with zeros, the same on both sides. At most 2^20 places
        of a kernel, strides of 2^15, paddings of 2^13, dilations of 2^30.
    groups : int

    Raises
    ------
    ValueError
        Where A does not fit the geometry.
    TypeError
        Where A is no CSR, or a number is none.

    Examples
    --------
    >>> import numpy as np
    >>> import sparsecore as sc
    >>> edges = sc.CSR.from_dense(np.array([[-1.0, 1.0]]))  # one channel in, one out
    >>> plan = ConvPlan(edges, kernel_size=(1, 2))
    >>> sc.conv2d(np.array([[[[0.0, 0, 5, 5]]]]), plan)
    array([[[[0., 5., 0.]]]])
    """

    __slots__ = ("__weakref__", "_handle", "_like", "_plan", "_version", "geometry")

    format = "plan"
    _keeps_structure = False  # what it keeps, its bytes count

    def __init__(
        self,
        A: CSR,
        *,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: Any = 1,
    ) -> None:
        if not isinstance(A, CSR):
            msg = f"conv2d: A is a {type(A).__name__}, expected a CSR"
            raise TypeError(msg)
        self.geometry = ConvGeometry.of(kernel_size, stride, padding, dilation, groups)
        self._plan = packed(A._structure, A.data, self.geometry)
        self._version = 0  # counts updates, for backward passes to notice one in between
        # An empty piece of the values: remembers their kind, dtype and device, not their memory.
        self._like = interop.copy_values(
            A.data[:0].detach() if interop.is_tensor(A.data) else A.data[:0]
        )
        self._handle = handle_of(self, (*self.shape, self.nnz), like=self._like)

    @property
    def _structure(self) -> _core.CsrStructure:
        return self._plan.structure

    @property
    def shape(self) -> tuple[int, int]:
        """(out_channels, in_channels / groups * kernel_h * kernel_w)."""
        return self._plan.shape

    @property
    def dtype(self) -> Any:
        """The numpy or torch dtype of the values."""
        return self._like.dtype

    @property
    def nnz(self) -> int:
        """Number of stored entries."""
        return self._plan.nnz

    @property
    def nbytes(self) -> int:
        """Bytes that the plan holds."""
        return self._plan.nbytes

    @property
    def kernel(self) -> str:
        """Name of the kernel: "depthwise" or "packed_patches"."""
        return self._plan.kernel

    def update(self, data: Values) -> None:
        """Replace the values, (nnz,) in CSR order, of the plan's dtype."""
        values = interop.to_numpy(data, name="ConvPlan.update: data")
        if values.shape != (self.nnz,):
            msg = f"ConvPlan.update: data has shape {values.shape}, expected ({self.nnz},)"
            raise ValueError(msg)
        self._plan.update(values, get_num_threads())
        self._version += 1
        if self._handle is not None:
            self._handle.changed()

    def unpack(self) -> Values:
        """Return the values in CSR order, in memory of their own."""
        return interop.from_numpy(self._plan.unpack(get_num_threads()), like=self._like)

    def tocsr(self) -> CSR:
        """Return the weight in CSR, its values a copy."""
        return CSR._wrap(self._structure, self.unpack())

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle and copy by way of the CSR: a plan's own layout is never saved."""
        return _plan_of, (self.tocsr(), self.geometry)

    def __repr__(self) -> str:
        """Return one line: shape, geometry, nnz, dtype, bytes."""
        m, n = self.shape
        kernel = "x".join(map(str, self.geometry.kernel_size))
        return (
            f"<ConvPlan {m}x{n}, kernel {kernel}, nnz={self.nnz}, "
            f"{interop.numpy_dtype(self.dtype)}, {self.nbytes} bytes>"
        )


def _plan_of(A: CSR, geometry: ConvGeometry) -> ConvPlan:
    return ConvPlan(A, **asdict(geometry))


def conv2d(
    x: Values,
    A: CSR | ConvPlan,
    bias: Values = None,
    *,
    kernel_size: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: Any = 1,
    activation: Activation | None = None,
    residual: Values = None,
    scale: Values = None,
    out: Values = None,
    threads: int | None = None,
) -> Values:
    """Convolve images with sparse kernels: ``activation(conv(x, A) * scale + bias + residual)``.

    Parameters
    ----------
    x : (n, c, h, w) or (c, h, w) numpy array or torch CPU tensor
        In any memory order; the result has that of x (torch's contiguous or channels_last).
    A : CSR, (m, c / groups * kernel_h * kernel_w), or ConvPlan
        A CSR is packed in each call; for many calls make a plan.
    bias : (m,) array, optional
    kernel_size, stride, padding, dilation : int or (int, int)
        With a CSR, as in torch's ``conv2d``. A plan has its own.
    groups : int
    activation : {"relu", "gelu", "silu"}, optional
    residual : like the result, optional
    scale : (m,) array, optional
        Factor of each output channel. Needed for int8 A with floating x.
    out : like the result, optional
        Where to write it.
    threads : int, optional
        As in `csr_matmul`.

    Returns
    -------
    (n, m, h', w') or (m, h', w') array or tensor, as x
        Sums are kept as in `csr_matmul`; the same call gives the same bits, with any number of
        threads. Differentiable in x, the values of a CSR, `bias`, `residual` and `scale`.

    Raises
    ------
    ValueError, TypeError, OverflowError, RuntimeError
        As `csr_matmul`.

    Examples
    --------
    >>> import numpy as np
    >>> import sparsecore as sc
    >>> blur = sc.CSR.from_dense(np.array([[1.0, 0, 1, 0, 0, 0, 1, 0, 1]]))
    >>> sc.conv2d(np.ones((1, 1, 3, 3)), blur, kernel_size=3, padding=1)[0, 0]
    array([[1., 2., 1.],
           [2., 4., 2.],
           [1., 2., 1.]])
    """
    geometry = _geometry(A, (kernel_size, stride, padding, dilation, groups))
    if threads is not None:
        threads = checked(threads, name="conv2d: threads")
    return convolved(
        x,
        A,
        bias,
        geometry,
        activation=activation,
        residual=residual,
        scale=scale,
        out=out,
        threads=threads,
    )


def convolved(
    x: Values,
    A: CSR | ConvPlan,
    bias: Values,
    geometry: ConvGeometry,
    *,
    activation: str | None = None,
    residual: Values = None,
    scale: Values = None,
    out: Values = None,
    threads: int | None = None,
) -> Values:
    """Convolve as `conv2d`, whose arguments these are, checked; a plan's geometry is its own."""
    if not interop.is_tensor(x):
        x = np.asarray(x)
    if x.ndim == 3:
        y = convolved(
            x[None],
            A,
            bias,
            geometry,
            activation=activation,
            residual=_lifted(residual, "residual"),
            scale=scale,
            out=_lifted(out, "out"),
            threads=threads,
        )
        return y[0] if out is None else out
    values = A._like if isinstance(A, ConvPlan) else A._data
    if type(x) is np.ndarray:
        _refuse_recording(scale, bias, residual)
    elif not interop.is_direct(values, x, out, bias, residual, scale):
        if activation not in ACTIVATIONS:
            msg = f"conv2d: activation is {activation!r}, expected None, 'relu', 'gelu' or 'silu'"
            raise ValueError(msg)
        if not interop.is_plain(x):
            from sparsecore.library import calls

            epilogue = dense.Epilogue(scale, bias, residual, activation)
            return calls.conv2d(A, x, geometry, epilogue, out=out, threads=threads)
        from sparsecore import torch_state

        x, residual = torch_state.under_autocast(x, residual, to=values.dtype)
        if _wants_grad(x, values, scale, bias, residual, out=out):
            from sparsecore import torch_conv

            epilogue = dense.Epilogue(scale, bias, residual, activation)
            return torch_conv.conv2d(x, A, geometry, epilogue, threads)
    plan = A._plan if isinstance(A, ConvPlan) else packed(A._structure, A._data, geometry)
    return _core.conv2d(plan, x, out, threads, scale, bias, residual, activation)


def _lifted(value: Values, name: str) -> Values:
    """Return an argument that belongs to one image as that of a batch of one."""
    if value is None:
        return None
    if not hasattr(value, "ndim"):
        msg = f"conv2d: {name} is a {type(value).__name__}, expected an array or a tensor"
        raise TypeError(msg)
    if value.ndim != 3:
        msg = f"conv2d: {name} has {value.ndim} dimensions, expected 3, as x"
        raise TypeError(msg)
    return value[None]


def packed(
    structure: _core.CsrStructure | DeviceStructure, values: Values, geometry: ConvGeometry
) -> _core.ConvPlan:
    """Pack a weight for the core.

    Raises
    ------
    TypeError
        Where the weight is on a CUDA device: convolutions run on the host only.
    ValueError
        Where it does not fit the geometry.
    """
    if isinstance(structure, DeviceStructure):
        place = str(structure.device)
        msg = f"conv2d: A is on device {place!r}, expected 'cpu': convolutions run there only"
        raise TypeError(msg)
    g = geometry
    return _core.prepare_conv2d(
        structure,
        interop.to_numpy(values, name="conv2d: A.data"),
        g.kernel_size,
        g.stride,
        g.padding,
        g.dilation,
        g.groups,
        get_num_threads(),
    )


def _geometry(A: Any, given: tuple[Any, ...]) -> ConvGeometry:
    if isinstance(A, ConvPlan):
        defaults = (None, 1, 0, 1, 1)
        if any(
            type(value) is not type(none) or value != none
            for value, none in zip(given, defaults, strict=True)
        ):
            msg = "conv2d: A is a ConvPlan, which has a geometry of its own; give none"
            raise TypeError(msg)
        return A.geometry
    if not isinstance(A, CSR):
        msg = f"conv2d: A is a {type(A).__name__}, expected a CSR or a ConvPlan"
        raise TypeError(msg)
    if given[0] is None:
        msg = "conv2d: kernel_size is missing, which a CSR needs"
        raise TypeError(msg)
    return ConvGeometry.of(*given)


def _refuse_recording(*given: Values) -> None:
    """Refuse tensors that require grad beside a numpy x, whose result takes no part in it."""
    torch = interop.torch_or_none()
    if torch is None or not torch.is_grad_enabled():
        return
    if any(getattr(value, "requires_grad", False) for value in given):
        msg = "conv2d: x is a numpy array, but an argument is a tensor that requires grad"
        raise TypeError(msg)


def _wants_grad(*given: Values, out: Values) -> bool:
    if not interop.import_torch().is_grad_enabled():
        return False
    if not any(getattr(value, "requires_grad", False) for value in (*given, out)):
        return False
    if out is not None:
        msg = "conv2d: out takes no part in gradients, but an argument requires grad"
        raise RuntimeError(msg)
    return True
