"""What the sparse layers share: a torch module around a sparse matrix.

Inheritance, where functions would do elsewhere: torch's modules are classes, and what they share is
their methods.
"""

from collections.abc import Callable
from typing import Any, ClassVar, Generic

import torch
from torch import Tensor, nn

from sparsecore.library import kinds
from sparsecore.nn.fused import finished
from sparsecore.nn.held import Held, Matrix, refreshed


class SparseLayer(nn.Module, Generic[Matrix]):
    """A layer whose weight is a sparse matrix around `values`, its structure in buffers."""

    values: nn.Parameter
    bias: nn.Parameter | None
    # What `forward` ends with: None, "relu", "gelu" or "silu".
    activation: str | None = None
    # Whether it took the place of a layer that was fused with what follows it.
    fused: bool = False
    _held: Held[Matrix] | None

    # What a format says of itself. Its tensors are the values and the buffers in this order.
    _buffer_names: ClassVar[tuple[str, ...]]
    _format: ClassVar[str]
    _kind: ClassVar[kinds.Kind]

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

    def _hold(self, values: Tensor, *buffers: Tensor) -> None:
        """Take the tensors of a weight, in a new layer."""
        self.values = nn.Parameter(values)
        for name, buffer in zip(self._buffer_names, buffers, strict=True):
            self.register_buffer(name, buffer)
        self._held = None

    def matrix(self) -> Matrix:
        """Return the weight, (out_features, in_features), as the kernels see it now.

        Raises
        ------
        ValueError, IndexError, TypeError
            If a buffer was edited into something that is not a matrix of this format and shape.
        RuntimeError
            If the layer is not on the CPU.
        """
        now = refreshed(self._held, self._validated, *self._tensors())
        if now is not self._held:  # Module.__setattr__ costs more than the rest
            self._held = now
        return now.matrix

    def _tensors(self) -> tuple[Tensor, ...]:
        held: Any = self._parameters, self._buffers  # Module.__getattr__ costs 0.4 us a name
        try:
            return (held[0]["values"], *[held[1][name] for name in self._buffer_names])
        except KeyError:  # parametrized
            return (self.values, *[getattr(self, name) for name in self._buffer_names])

    def _validated(self, *tensors: Tensor) -> Matrix:
        for tensor in tensors:
            if tensor.device.type != "cpu":
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
        y = run(input, self._operand(), bias, activation=activation, residual=residual)
        return y if activation == self.activation else finished(y, None, self.activation)

    def _checked(self, input: object) -> Tensor:
        """Return the input of a forward if it is a tensor."""
        if not isinstance(input, Tensor):
            kind = f"{type(input).__module__}.{type(input).__qualname__}"
            msg = f"{type(self).__name__}: input is a {kind}, expected a torch.Tensor"
            raise TypeError(msg)
        return input

    @property
    def nbytes(self) -> int:
        """Bytes of the weight in memory: its tensors and, once used, the kernels' structure."""
        own = sum(tensor.nbytes for tensor in self._tensors())
        held = self._held
        return own if held is None else own + held.matrix.nbytes - self.values.nbytes

    def extra_repr(self) -> str:
        """Describe the layer as print() shows it."""
        return self._description(self.values.numel(), self.values.dtype)

    def _description(self, entries: int, dtype: torch.dtype) -> str:
        rows, columns = self._weight_shape()
        sparsity = max(0.0, 1 - entries / max(rows * columns, 1))
        return (
            f"{self._sizes()}, "
            f"bias={self.bias is not None}, {self._activated()}format={self._format}, "
            f"sparsity={sparsity:.3f}, "
            f"dtype={str(dtype).removeprefix('torch.')}, kernel={self._kernel}, "
            f"bytes={self.nbytes}"
        )

    def _activated(self) -> str:
        return "" if self.activation is None else f"activation={self.activation}, "

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *arguments: Any
    ) -> None:
        errors: list[str] = arguments[-1]
        try:
            incoming = self._incoming(state_dict, prefix)
            # Before anything is copied: an integer copied into a narrower one would wrap.
            names = ("values", *self._buffer_names)
            self._validated(*(incoming.get(name, getattr(self, name)) for name in names))
        except (ValueError, IndexError, TypeError, RuntimeError) as error:
            errors.append(f"{prefix}{{{','.join(('values', *self._buffer_names))}}}: {error}")
            return
        self._make_room(incoming)
        super()._load_from_state_dict(state_dict, prefix, *arguments)

    def _incoming(self, state_dict: dict[str, Any], prefix: str) -> dict[str, Tensor]:
        """Return those of the layer's tensors that the state has, on the CPU."""
        incoming = {}
        for name in ("values", *self._buffer_names):
            if prefix + name not in state_dict:
                continue
            tensor = state_dict[prefix + name]
            if not isinstance(tensor, Tensor):
                msg = f"{name} is a {type(tensor).__name__}, expected a tensor"
                raise TypeError(msg)
            incoming[name] = tensor.cpu() if tensor.is_cuda else tensor
        return incoming

    def __getstate__(self) -> dict[str, Any]:
        """Leave the kernels' copy behind: pickle and deepcopy make it again from the buffers."""
        return {**self.__dict__, "_held": None}
