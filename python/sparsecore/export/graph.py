"""The constants of an ONNX model as numpy arrays, and new ones in it."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from sparsecore.interop import Array

if TYPE_CHECKING:
    import onnx
    from torch import Tensor

__all__ = ["constants", "numbers_of"]


def constants(proto: "onnx.ModelProto") -> dict[str, Array]:
    """Return the floating constants of the main graph by name, initializers and Constant nodes."""
    from onnx import numpy_helper

    found: dict[str, Array] = {}
    for name, tensor in _tensors(proto):
        array = numpy_helper.to_array(tensor)
        if np.issubdtype(array.dtype, np.floating) or "float" in array.dtype.name:
            found[name] = _native(array)
    return found


def numbers_of(tensor: "Tensor") -> Array:
    """Return a parameter as `constants` returns what it was exported as."""
    import torch

    host = tensor.detach().cpu()
    return _native((host.float() if host.dtype == torch.bfloat16 else host).numpy())


def _tensors(proto: "onnx.ModelProto") -> Iterator[tuple[str, "onnx.TensorProto"]]:
    for tensor in proto.graph.initializer:
        yield tensor.name, tensor
    for node in proto.graph.node:
        if node.op_type == "Constant" and node.output:
            for attribute in node.attribute:
                if attribute.name == "value":
                    yield node.output[0], attribute.t


def _native(array: Array) -> Array:
    """Return the same numbers in a dtype of numpy's own: bfloat16 and float8 are in float32."""
    is_native = np.issubdtype(array.dtype, np.floating)
    return array if is_native else array.astype(np.float32)
