"""What onnxruntime makes of an exported file: its outputs, and its graph after its optimisers."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sparsecore.export.graph import constants
from sparsecore.interop import Array
from sparsecore.nn.accuracy import tolerance

__all__ = ["allowed_error", "optimised_constants", "outputs_of"]


def outputs_of(path: Path, inputs: Sequence[Tensor]) -> list[Tensor]:
    """Run a file on the CPU, with all of onnxruntime's optimisers.

    Raises
    ------
    RuntimeError
        If onnxruntime cannot, as with dtypes that it has no CPU kernels for.
    """
    import onnxruntime as ort

    session = _session(path, _options(ort.GraphOptimizationLevel.ORT_ENABLE_ALL))
    arrays = [x.detach().cpu().numpy() for x in inputs]
    names = [value.name for value in session.get_inputs()]
    if len(names) != len(arrays):
        msg = (
            f"to_onnx: the exported model has {len(names)} inputs, example_inputs "
            f"{len(arrays)} tensors: all that a model takes has to be tensors to be compared"
        )
        raise RuntimeError(msg)
    found = session.run(None, dict(zip(names, arrays, strict=True)))
    return [torch.from_numpy(y) for y in found]


def optimised_constants(path: Path, folder: Path) -> dict[str, Array]:
    """Return the constants after constant folding and fusions, as onnxruntime writes its graph.

    Of its "extended" level, the highest whose graph keeps the layout of weights: above it they are
    blocked for this processor's vectors.
    """
    import onnx
    import onnxruntime as ort

    written = folder / "optimised.onnx"
    options = _options(ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED)
    options.optimized_model_filepath = str(written)
    # Beside the graph: a file of the format holds 2 GiB at most.
    prefix = "session.optimized_model_external_initializers"
    options.add_session_config_entry(f"{prefix}_file_name", "optimised.data")
    options.add_session_config_entry(f"{prefix}_min_size_in_bytes", "1024")
    _session(path, options)
    return constants(onnx.load(written))


def allowed_error(weights: Mapping[str, Tensor], nodes: int) -> float:
    """Return the largest relative error of an output that rounding explains.

    A weight (n, ...) of k numbers a row makes ``(k + 2) eps(accumulator) + eps(dtype)`` of it at
    most (see `sparsecore.nn.accuracy.tolerance`), each other node eps(dtype). Both sides round, for
    which those have a factor of two to spare. Sums add up over the depth of the model.

    Examples
    --------
    >>> eps = torch.finfo(torch.float32).eps
    >>> round(allowed_error({"fc.weight": torch.ones(3, 10)}, nodes=2) / eps)
    15
    """
    matrices = [w for w in weights.values() if w.ndim >= 2 and w.is_floating_point()]
    if not matrices:
        return nodes * torch.finfo(torch.float32).eps
    products = sum(tolerance(w.dtype, w[0].numel()) for w in matrices if len(w))
    return products + nodes * max(torch.finfo(w.dtype).eps for w in matrices)


def _options(level: Any) -> Any:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.graph_optimization_level = level
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    return options


def _session(path: Path, options: Any) -> Any:
    import onnxruntime as ort

    try:
        return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its own classes have no common base
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        msg = f"to_onnx: onnxruntime cannot run what was exported, so it is not checked: {reason}"
        raise RuntimeError(msg) from error
