"""What CSRLinear and Sparse24Linear share: a linear layer that holds a sparse matrix.

Inheritance, where functions would do elsewhere: torch's modules are classes, and what they share is
their methods.
"""

from typing import Any, ClassVar, Generic, Self

import torch
from torch import Tensor, nn

from sparsecore import interop, ops
from sparsecore.library import calls, kinds
from sparsecore.nn.held import Held, Matrix, refreshed
from sparsecore.nn.layers import obstacle


class SparseLinear(nn.Module, Generic[Matrix]):
    """A linear layer whose weight is a sparse matrix around `values`, its structure in buffers."""

    in_features: int
    out_features: int
    values: nn.Parameter
    bias: nn.Parameter | None
    _held: Held[Matrix] | None

    # What a format says of itself. Its tensors are the values and the buffers in this order.
    _buffer_names: ClassVar[tuple[str, ...]]
    _format: ClassVar[str]
    _kind: ClassVar[kinds.Kind]

    def _zeros(self, dtype: torch.dtype | None) -> tuple[Tensor, ...]:
        """Return the tensors of a weight of zeros."""
        raise NotImplementedError

    def _build(self, *tensors: Tensor) -> Matrix:
        """Return the matrix around these very values, or raise what is wrong with the tensors."""
        raise NotImplementedError

    def _operand(self) -> Any:
        """Return what products run on."""
        return self.matrix()

    @property
    def _kernel(self) -> str:
        raise NotImplementedError

    def _make_room(self, incoming: dict[str, Tensor]) -> None:
        """Take the sizes and dtypes of valid tensors about to be loaded, where they can vary."""

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.in_features = in_features
        self.out_features = out_features
        values, *buffers = self._zeros(dtype)
        self.values = nn.Parameter(values)
        for name, buffer in zip(self._buffer_names, buffers, strict=True):
            self.register_buffer(name, buffer)
        zeros = nn.Parameter(torch.zeros(out_features, dtype=dtype))
        self.register_parameter("bias", zeros if bias else None)
        self._held = None

    @classmethod
    def _in_place_of(cls, linear: nn.Linear, values: Tensor, *buffers: Tensor) -> Self:
        layer = cls(linear.in_features, linear.out_features, bias=False)
        layer.values = nn.Parameter(values, requires_grad=linear.weight.requires_grad)
        for name, buffer in zip(cls._buffer_names, buffers, strict=True):
            setattr(layer, name, buffer)
        layer.bias = linear.bias
        return layer.train(linear.training)

    def to_dense(self) -> nn.Linear:
        """Return an nn.Linear with the same weight and a copy of the bias."""
        matrix = self.matrix()
        with torch.no_grad():
            # skip_init: drawing initial weights would move the generator of the caller.
            linear: nn.Linear = nn.utils.skip_init(  # type: ignore[no-untyped-call]
                nn.Linear, self.in_features, self.out_features, bias=self.bias is not None
            )
            linear.weight = nn.Parameter(matrix.toarray(), self.values.requires_grad)
            if self.bias is not None:
                linear.bias = nn.Parameter(self.bias.clone(), self.bias.requires_grad)
        return linear.train(self.training)

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

    def forward(self, input: Tensor) -> Tensor:
        """Return ``x W^T + b``: (..., in_features) -> (..., out_features), differentiable.

        Raises
        ------
        TypeError
            If `input` is no torch.Tensor.
        """
        if not isinstance(input, Tensor):
            kind = f"{type(input).__module__}.{type(input).__qualname__}"
            msg = f"{type(self).__name__}: input is a {kind}, expected a torch.Tensor"
            raise TypeError(msg)
        if not interop.is_plain(input):
            return self._traced(input)
        try:
            bias = self._parameters["bias"]
        except KeyError:  # parametrized
            bias = self.bias
        y: Tensor = ops.linear(input, self._operand(), bias)
        return y

    def _traced(self, input: Tensor) -> Tensor:
        """Return the same of the layer's own tensors, for where torch must see the call."""
        buffers = [getattr(self, name) for name in self._buffer_names]
        shape = [self.out_features, self.in_features]
        return calls.layer(self._kind, input, self.values, buffers, shape, self.bias)

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
        sparsity = max(0.0, 1 - entries / max(self.in_features * self.out_features, 1))
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, "
            f"bias={self.bias is not None}, format={self._format}, sparsity={sparsity:.3f}, "
            f"dtype={str(dtype).removeprefix('torch.')}, kernel={self._kernel}, "
            f"bytes={self.nbytes}"
        )

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


def plain_weight(linear: object, cls: type[nn.Module]) -> Tensor:
    """Return the weight of `linear`, refusing what a copy of it would not stand for."""
    if not isinstance(linear, nn.Linear):
        msg = f"{cls.__name__}.from_dense: linear is a {type(linear).__name__}, expected nn.Linear"
        raise TypeError(msg)
    reason = obstacle(linear)
    if reason is not None:
        msg = f"{cls.__name__}.from_dense: {reason}"
        raise ValueError(msg)
    return linear.weight.detach()
