"""Dense networks in onnxruntime, in fp32 and with static int8."""

from collections.abc import Callable
from typing import Any

from sparsecore.bench.e2e.engines.workload import Workload

__all__ = ["float32", "int8"]


def float32(workload: Workload) -> Callable[[], Any]:
    """Run the network as it was exported."""
    return _call(workload, workload.onnx)


def int8(workload: Workload) -> Callable[[], Any]:
    """Run it with int8 weights, scaled by channel, and uint8 activations of measured ranges."""
    return _call(workload, workload.int8_onnx)


def _call(workload: Workload, model: bytes) -> Callable[[], Any]:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = workload.threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    feed = {name: x.numpy() for name, x in zip(workload.names, workload.inputs, strict=True)}
    return lambda: session.run(None, feed)[0]
