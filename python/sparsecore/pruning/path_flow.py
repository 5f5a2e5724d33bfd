"""Which weights lie on a path from a model's input to its output.

SynFlow's flow: every kept weight is 1, biases are 0, every input is 1 and activations hand on what
they get, so that a weight is on a path where the sum of the outputs changes with it. To rank
weights the paths would have to be counted, and the counts overflow; here, after every layer, a
positive flow is set back to 1 in both directions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

from sparsecore.nn.example import Example, undisturbed

__all__ = ["on_a_path"]

_PASS = frozenset(
    [
        *("relu", "relu6", "gelu", "silu", "elu", "selu", "celu", "leaky_relu", "mish"),
        *("sigmoid", "tanh", "hardtanh", "hardswish", "hardsigmoid", "softplus", "softsign"),
        *("logsigmoid", "prelu", "rrelu", "softshrink", "hardshrink", "tanhshrink", "threshold"),
        *("dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "abs", "neg"),
        *("feature_alpha_dropout", "exp", "expm1", "log", "log1p", "sqrt", "square", "pow", "erf"),
        *("__pow__", "sin", "cos", "clamp", "clamp_min", "clamp_max", "clip"),
        *("log2", "log10", "erfc", "reciprocal"),
    ]
)
_MIX = frozenset(
    [
        *("linear", "conv1d", "conv2d", "conv3d", "bilinear", "matmul", "__matmul__", "mm", "bmm"),
        *("conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "addmm", "baddbmm"),
        "einsum",
    ]
)
_SOFTMAX = frozenset(["softmax", "log_softmax", "softmin"])
_BY_CHANNEL = frozenset(["batch_norm", "instance_norm", "group_norm"])
_BY_FEATURE = frozenset(["layer_norm", "rms_norm"])
_MINUS = frozenset(["sub", "sub_", "subtract", "__sub__", "__isub__", "rsub", "__rsub__"])
_TIMES = frozenset(["mul", "mul_", "multiply", "__mul__", "__rmul__", "__imul__"])
_OVER = frozenset(
    [
        *("div", "div_", "divide", "true_divide", "__truediv__", "__itruediv__"),
        *("__rdiv__", "__rtruediv__"),
    ]
)
# One function is all of a layer; of recurrent ones gates saturate, and GRU's subtract.
_OPAQUE = {
    "multi_head_attention_forward": "nn.MultiheadAttention",
    **dict.fromkeys(("lstm", "lstm_cell"), "nn.LSTM"),
    **dict.fromkeys(("gru", "gru_cell"), "nn.GRU"),
    **dict.fromkeys(("rnn_tanh", "rnn_tanh_cell"), "nn.RNN with tanh"),
}
_LARGEST = frozenset(["max", "amax", "min", "amin", "maximum", "minimum"])


def on_a_path(
    model: nn.Module, example_inputs: Any, masks: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Return which kept weights are on a path from an input to an output.

    Parameters
    ----------
    model : torch.nn.Module
        Runs once, in eval mode and float64; nothing of it changes.
    example_inputs : tensor, tuple or dict
        The arguments of its forward. Floating ones are replaced by ones; a batch of 1 is enough.
    masks : mapping of str to tensor of bool
        By parameter name, True = kept. Other parameters pass a flow on where they are not zero.

    Returns
    -------
    dict of str to tensor of bool

    Raises
    ------
    ValueError
        Something in the model does not pass a flow on, or the batch is empty.
    TypeError
        `example_inputs` is something else.
    """
    ones = Example.of(example_inputs, caller="audit").map(_input)
    weights = {name: mask.detach().double().requires_grad_() for name, mask in masks.items()}
    parameters = {name: _indicator(name, p) for name, p in model.named_parameters()} | weights
    buffers = {n: b.double() if b.is_floating_point() else b.clone() for n, b in _buffers(model)}
    with undisturbed(model), torch.enable_grad(), _Flow():
        output = torch.func.functional_call(
            model, {**buffers, **parameters}, ones.args, dict(ones.kwargs)
        )
    found = [o for o in pytree.tree_leaves(output) if torch.is_tensor(o) and o.requires_grad]
    if not found:
        return {name: torch.zeros_like(mask) for name, mask in masks.items()}
    if not any(o.numel() for o in found):
        msg = "audit: example_inputs give an output without numbers, expected a batch of at least 1"
        raise ValueError(msg)
    flow: Any = sum(_reach(o).sum() for o in found)
    gradients = torch.autograd.grad(flow, list(weights.values()), allow_unused=True)
    reached = {}
    for (name, mask), gradient in zip(masks.items(), gradients, strict=True):
        flows = torch.zeros_like(mask) if gradient is None else gradient > 0
        reached[name] = mask & flows
    return reached


def _input(tensor: Tensor) -> Tensor:
    if not tensor.is_floating_point():
        return tensor.clone()
    return torch.ones_like(tensor, dtype=torch.float64, requires_grad=True)


def _indicator(name: str, parameter: Tensor) -> Tensor:
    if name.rpartition(".")[2].endswith("bias"):
        return torch.zeros_like(parameter, dtype=torch.float64)
    return (parameter.detach() != 0).double()


def _buffers(model: nn.Module) -> list[tuple[str, Tensor]]:
    return [(name, buffer.detach()) for name, buffer in model.named_buffers()]


class _Reach(torch.autograd.Function):
    """1 where there is a flow, both ways."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:  # noqa: ARG004 - autograd's signature
        if not bool((x >= 0).all()):
            msg = (
                "audit: paths cannot be followed: an operation gives a negative flow or NaN; "
                "audit without example_inputs"
            )
            raise ValueError(msg)
        return (x > 0).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:  # noqa: ARG004
        return (gradients[0] > 0).to(gradients[0].dtype)


def _reach(x: Tensor) -> Tensor:
    reached: Tensor = _Reach.apply(x)  # type: ignore[no-untyped-call]
    return reached


class _Flow(TorchFunctionMode):
    """Let every function of torch's hand a flow on."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if name in _PASS or name.removesuffix("_") in _PASS:
            return args[0]
        if name in _MIX:
            return _reach(func(*args, **kwargs))
        if name in _BY_CHANNEL or name in _BY_FEATURE:
            return _gated(args[0], kwargs.get("weight"), by_feature=name in _BY_FEATURE)
        if name in _SOFTMAX:
            # A share of an attention is not zero where its logit is.
            return args[0].nan_to_num(neginf=0.0).clamp(min=0) + 1
        if name == "scaled_dot_product_attention":
            return _attention(*args[:3])
        if name in _OPAQUE:
            msg = (
                f"audit: paths through {_OPAQUE[name]} cannot be followed; audit without "
                "example_inputs"
            )
            raise ValueError(msg)
        if name in _LARGEST:
            return _any_of(func, *args, **kwargs)
        if "max_pool" in name:
            return _pooled(func, name, *args, **kwargs)
        return _arithmetic(func, name, args, kwargs)


def _gated(x: Tensor, weight: Tensor | None, *, by_feature: bool) -> Tensor:
    """Pass channels on whose scale is not zero."""
    if weight is None:
        return x
    return x * (weight if by_feature else weight.reshape(-1, *[1] * (x.ndim - 2)))


def _attention(query: Tensor, key: Tensor, value: Tensor) -> Any:
    shares = _reach(query @ key.transpose(-2, -1)) + 1
    return _reach(shares @ value)


def _any_of(func: Callable[..., Any], x: Tensor, *args: Any, **kwargs: Any) -> Any:
    """Pass on what is anywhere along the axes, or in any of two tensors, not the largest alone."""
    other = args[0] if args else kwargs.get("other")
    pair: Any = (x,)
    if torch.is_tensor(other):
        pair = torch.broadcast_tensors(x, other)  # type: ignore[no-untyped-call]
    flows = [tensor for tensor in pair if tensor.requires_grad]
    if not flows:
        return func(x, *args, **kwargs)
    if torch.is_tensor(other):
        return sum(flows[1:], flows[0])
    found, mean = func(x, *args, **kwargs), x.mean(*args, **kwargs)
    # With one axis the indices come along.
    indices = getattr(found, "indices", None)
    return type(found)((mean, indices)) if torch.is_tensor(indices) else mean


def _pooled(func: Callable[..., Any], name: str, x: Tensor, *args: Any, **kwargs: Any) -> Any:
    """Pass on what is anywhere in the window, not only what is first in it."""
    given = dict(
        zip(("kernel_size", "stride", "padding", "dilation", "ceil_mode"), args, strict=False)
    )
    given |= kwargs
    if given.get("return_indices") or _is_dilated(given.get("dilation", 1)):
        return func(x, *args, **kwargs)
    average: Any = getattr(functional, name.replace("max", "avg"))
    if name.startswith("adaptive"):
        return average(x, args[0] if args else kwargs["output_size"])
    rest = {k: given[k] for k in ("stride", "padding", "ceil_mode") if given.get(k) is not None}
    return average(x, given["kernel_size"], **rest)


def _is_dilated(dilation: Any) -> bool:
    return dilation not in (1, [1], (1,), [1, 1], (1, 1), [1, 1, 1], (1, 1, 1))


def _arithmetic(
    func: Callable[..., Any], name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Any:
    flows = [torch.is_tensor(value) and value.requires_grad for value in args[:2]]
    if name in _OVER and all(flows):
        return args[0]
    if all(flows):
        return args[0] + args[1] if name in _MINUS else func(*args, **kwargs)
    if not any(flows) or name not in _MINUS | _TIMES | _OVER:
        return func(*args, **kwargs)
    x, other = (args[0], args[1]) if flows[0] else (args[1], args[0])
    if name in _MINUS:
        return x
    # By a constant: its sign is nobody's path, but zero is nobody's either.
    return x * (torch.as_tensor(other) != 0)
