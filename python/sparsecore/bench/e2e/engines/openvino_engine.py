"""Dense networks in OpenVINO, in fp32 and with static int8."""

from collections.abc import Callable
from typing import Any

from sparsecore.bench.e2e.engines.workload import Workload

__all__ = ["float32", "int8"]


def float32(workload: Workload) -> Callable[[], Any]:
    """Run the network as it was exported."""
    return _call(workload, workload.onnx)


def int8(workload: Workload) -> Callable[[], Any]:
    """Run what onnxruntime quantised."""
    return _call(workload, workload.int8_onnx)


def _call(workload: Workload, model: bytes) -> Callable[[], Any]:
    import openvino

    core = openvino.Core()
    settings = {
        "INFERENCE_NUM_THREADS": workload.threads,
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
        # Processors that have bf16 instructions would compute in bf16 unasked.
        "INFERENCE_PRECISION_HINT": "f32",
        # The process is pinned to its cores already.
        "ENABLE_CPU_PINNING": False,
    }
    request = core.compile_model(core.read_model(model), "CPU", settings).create_infer_request()
    inputs = [x.numpy() for x in workload.inputs]
    return lambda: request.infer(inputs, share_inputs=True, share_outputs=True)[0]
