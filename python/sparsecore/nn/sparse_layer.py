"""What the sparse layers share: a torch module around a sparse matrix.

Inheritance, where functions would do elsewhere: torch's modules are classes, and what they share is
their methods.
"""

from collections.abc import Callable
from typing import Any, ClassVar, Generic, Self

import torch
from torch import Tensor, nn

from sparsecore import interop
from sparsecore.library import kinds
from sparsecore.nn.fused import finished
from sparsecore.nn.held import Held, Matrix, refreshed
from sparsecore.nn.layer_state import check_stored, incoming_tensors
from sparsecore.nn.stored_values import (
    StoredValues,
    checked_form,
    dtype_name,
    store,
    storing_obstacle,
    widened,
)


class SparseLayer(nn.Module, Generic[Matrix]):
    """A layer whose weight is a sparse matrix around `values`, its structure in buffers.

    Values may be stored narrower than the layer computes. int8 ones are a buffer, because torch
    lets no integer require a gradient: ``model.requires_grad_()`` would raise.
    """

    values: Tensor
    # Factor of each row, float32; int8 values have it, others no such attribute.
    scale: Tensor
    bias: nn.Parameter | None
    # The layer's dtype, where the values are stored narrower; None where it is theirs.
    _dtype: torch.dtype | None = None
    # What `forward` ends with: None, "relu", "gelu" or "silu".
    activation: str | None = None
    # Whether it took the place of a layer that was fused with what follows it.
    fused: bool = False
    _held: Held[Matrix] | None

    # What a format says of itself. Its tensors are the values and the buffers in this order.
    _buffer_names: ClassVar[tuple[str, ...]]
    _format: ClassVar[str]
    _kind: ClassVar[kinds.Kind]
    # Whether products of the layer run on a CUDA device, too.
    _runs_on_device: ClassVar[bool] = False

    def _weight_shape(self) -> tuple[int, int]:
        """Return rows and columns of the matrix."""
        raise NotImplementedError

    def _build(self, *tensors: Tensor) -> Matrix:
        """Return the matrix around these very values, or raise what is wrong with the tensors."""
        raise NotImplementedError

    def _sizes(self) -> str:
        """Return what the repr begins with: the sizes that the layer was made with."""
        raise NotImplementedError

    def _operand(self) -> Any:
        """Return what products run on."""
        return self.matrix()

    @property
    def _kernel(self) -> str:
        raise NotImplementedError

    def _make_room(self, incoming: dict[str, Tensor]) -> None:
        """Take the sizes and dtypes of valid tensors about to be loaded, where they can vary."""

    def to_dense(self) -> nn.Module:
        """Return a dense layer with the same weight and a copy of the bias."""
        raise NotImplementedError

    def _parts(self, matrix: Matrix) -> tuple[Tensor, ...]:
        """Return the values and the buffers of a weight."""
        raise NotImplementedError

    def _zeros(self, dtype: torch.dtype | None) -> tuple[Tensor, ...]:
        """Return those of a weight of zeros."""
        raise NotImplementedError

    def _rows_of(self, values: Tensor, *buffers: Tensor) -> Tensor:
        """Return the row that each value is in, like the values."""
        raise NotImplementedError

    # ---- the tensors ----

    @property
    def _scale(self) -> Tensor | None:
        return self._buffers.get("scale")

    def _hold(
        self,
        form: StoredValues | None,
        values: Tensor,
        *buffers: Tensor,
        trainable: bool = True,
    ) -> None:
        """Take the tensors of a weight, in a new layer; `form` says how to store its values.

        Raises
        ------
        ValueError
            If there is no such form, or it does not hold the values.
        """
        name = f"{type(self).__name__}: values"
        narrow, scale = values, None
        if checked_form(form, name=name) is not None:
            if (reason := storing_obstacle(values, form)) is not None:
                msg = f"{name} cannot be stored as {form}: {reason}"
                raise ValueError(msg)
            rows = self._rows_of(values, *buffers)
            narrow, scale = store(values, rows, self._weight_shape()[0], form)
        # The scale first: torch.export counts the buffers before one that a prepared layer keeps.
        self._buffers.clear()
        if scale is not None:
            self.register_buffer("scale", scale)
        self._hold_values(narrow, trainable=trainable)
        for key, buffer in zip(self._buffer_names, buffers, strict=True):
            self.register_buffer(key, buffer)
        self._dtype = None if narrow.dtype == values.dtype else values.dtype
        self._held = None

    def _hold_values(self, values: Tensor, *, trainable: bool) -> None:
        """Take values: a Parameter, or int8 in a buffer."""
        if values.is_floating_point():
            self.values = nn.Parameter(values, requires_grad=trainable)
            return
        self._parameters.pop("values", None)
        self.register_buffer("values", values)

    def matrix(self) -> Matrix:
        """Return the weight, (out_features, in_features), as the kernels see it now.

        Raises
        ------
        ValueError, IndexError, TypeError
            If a buffer was edited into something that is not a matrix of this format and shape.
        RuntimeError
            If the layer is where it has no kernels.
        """
        now = refreshed(self._held, self._validated, *self._tensors())
        if now is not self._held:  # Module.__setattr__ costs more than the rest
            self._held = now
        return now.matrix

    def _tensors(self) -> tuple[Tensor, ...]:
        # Module.__getattr__ costs 0.4 us a name
        parameters: Any = self._parameters
        buffers: Any = self._buffers
        try:
            values = parameters["values"] if "values" in parameters else buffers["values"]
            return (values, *[buffers[name] for name in self._buffer_names])
        except KeyError:  # parametrized
            return (self.values, *[getattr(self, name) for name in self._buffer_names])

    def _validated(self, *tensors: Tensor) -> Matrix:
        for tensor in tensors:
            is_place = self._runs_on_device and interop.on_device(tensor)
            if tensor.device.type != "cpu" and not is_place:
                msg = (
                    f"{type(self).__name__}: its tensors are on {tensor.device}, but its kernels "
                    'run on the CPU: call .to("cpu"), or convert it back with .to_dense() before '
                    "moving the model"
                )
                raise RuntimeError(msg)
        return self._build(*tensors)

    def _finished(
        self, run: Callable[..., Tensor], input: Tensor, residual: Tensor | None
    ) -> Tensor:
        """Run the layer's product with what follows it, in the product where that is faster."""
        activation = self.activation
        if input.dtype == torch.float64 and activation != "relu":  # not vectorised, as torch's are
            activation = None
        try:
            bias = self._parameters["bias"]
        except KeyError:  # parametrized
            bias = self.bias
        y = run(
            input,
            self._operand(),
            bias,
            activation=activation,
            residual=residual,
            scale=self._buffers.get("scale"),
        )
        return y if activation == self.activation else finished(y, None, self.activation)

    def _checked(self, input: object) -> Tensor:
        """Return the input of a forward if it is a tensor."""
        if not isinstance(input, Tensor):
            kind = f"{type(input).__module__}.{type(input).__qualname__}"
            msg = f"{type(self).__name__}: input is a {kind}, expected a torch.Tensor"
            raise TypeError(msg)
        return input

    def _dense_weight(self) -> Tensor:
        """Return the weight, dense, as (rows, columns) of the layer's dtype."""
        weight: Tensor = self.matrix().toarray()
        return weight if self._dtype is None else widened(weight, self._scale, self._dtype)

    @property
    def _values_dtype(self) -> torch.dtype:
        return self.values.dtype

    @property
    def nbytes(self) -> int:
        """Bytes of the weight in memory: its tensors and, once used, the kernels' structure."""
        own = sum(tensor.nbytes for tensor in self._tensors())
        own += 0 if self._scale is None else self._scale.nbytes
        held = self._held
        if held is None:
            return own
        kept: dict[str, Any] = getattr(held.matrix._structure, "kept", {})
        forms = sum(getattr(entry.form, "nbytes", 0) for entry in kept.values())
        return own + held.matrix.nbytes - self.values.nbytes + forms

    def extra_repr(self) -> str:
        """Describe the layer as print() shows it."""
        return self._description(self.values.numel())

    def _description(self, entries: int) -> str:
        rows, columns = self._weight_shape()
        sparsity = max(0.0, 1 - entries / max(rows * columns, 1))
        dtype = self._dtype or self._values_dtype
        stored = "" if self._dtype is None else f"values={dtype_name(self._values_dtype)}, "
        return (
            f"{self._sizes()}, "
            f"bias={self.bias is not None}, {self._activated()}format={self._format}, "
            f"sparsity={sparsity:.3f}, "
            f"dtype={dtype_name(dtype)}, {stored}kernel={self._kernel}, "
            f"bytes={self.nbytes}"
        )

    def _activated(self) -> str:
        return "" if self.activation is None else f"activation={self.activation}, "

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *arguments: Any
    ) -> None:
        errors: list[str] = arguments[-1]
        names: list[str] = ["values", *self._buffer_names]
        shown = ",".join(names if self._scale is None else [*names, "scale"])
        try:
            incoming = incoming_tensors(state_dict, prefix, [*names, "scale"])
            rows = self._weight_shape()[0]
            check_stored(incoming, self.values.dtype, has_scale=self._scale is not None, rows=rows)
            # Before anything is copied: an integer copied into a narrower one would wrap.
            self._validated(*(incoming.get(name, getattr(self, name)) for name in names))
        except (ValueError, IndexError, TypeError, RuntimeError) as error:
            errors.append(f"{prefix}{{{shown}}}: {error}")
            return
        self._make_room(incoming)
        super()._load_from_state_dict(state_dict, prefix, *arguments)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Move or cast the layer; values that are stored narrower stay so where they can."""
        dtype, narrow, scale = self._dtype, self.values.dtype, self._scale
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        if dtype is None:
            return self
        dtype = fn(torch.empty(1, dtype=dtype)).dtype
        if scale is not None:
            if self.scale.dtype != scale.dtype:
                self.scale = scale.to(self.scale.device)
        elif dtype == torch.float32 and self.values.dtype != narrow:
            self.values.data = self.values.data.to(narrow)
        self._dtype = None if self.values.dtype == dtype else dtype
        return self

    def __getstate__(self) -> dict[str, Any]:
        """Leave the kernels' copy behind: pickle and deepcopy make it again from the buffers."""
        return {**self.__dict__, "_held": None}
