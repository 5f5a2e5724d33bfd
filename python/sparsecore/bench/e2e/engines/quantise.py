"""Static int8 by onnxruntime's own quantiser."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ["quantised"]


class _Samples:
    """What the quantiser reads its ranges from."""

    def __init__(self, samples: Sequence[Mapping[str, Any]]) -> None:
        self._left = iter(samples)

    def get_next(self) -> Mapping[str, Any] | None:
        """Return the next inputs by name, None after the last."""
        return next(self._left, None)


def quantised(model: bytes, samples: Sequence[Mapping[str, Any]]) -> bytes:
    """Return an ONNX model with int8 weights, scaled by channel, and uint8 activations.

    Parameters
    ----------
    model : bytes
        In fp32.
    samples : sequence of mappings of str to array
        Inputs by name; activations get the ranges seen with them.
    """
    # Only now: onnxruntime need not be there.
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory() as folder:
        source, prepared, target = (Path(folder, f"{name}.onnx") for name in ("a", "b", "c"))
        source.write_bytes(model)
        # Shapes are fixed, so there is nothing symbolic to infer.
        quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
        quantize_static(
            prepared,
            target,
            _Samples(samples),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            op_types_to_quantize=["Conv", "Gemm", "MatMul"],
        )
        return target.read_bytes()
