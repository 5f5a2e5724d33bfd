"""From a pruned torch model to an ONNX file whose zeros were checked."""

import os
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from sparsecore.export.dense_copy import dense_copy
from sparsecore.export.gemm import matmuls_to_gemms
from sparsecore.export.graph import constants, numbers_of
from sparsecore.export.packages import need
from sparsecore.export.result import Exported
from sparsecore.export.runtime import allowed_error, optimised_constants, outputs_of
from sparsecore.export.tracing import leaf_tensors, longer, trace
from sparsecore.export.zeros import WeightCheck, check_zeros
from sparsecore.files.replacing import data_beside, unused_data
from sparsecore.interop import Array
from sparsecore.nn.accuracy import outputs_difference
from sparsecore.nn.example import Example
from sparsecore.nn.sparsify_arguments import check_initialized

if TYPE_CHECKING:
    import onnx

__all__ = ["to_onnx"]

# The format's own limit for one file is 2 GiB, of which the graph needs some.
_LARGEST_WEIGHTS = 2**31 - 2**26


def to_onnx(
    model: nn.Module,
    example_inputs: Any,
    path: str | os.PathLike[str],
    *,
    dynamic_batch: bool = False,
    opset: int | None = None,
    rewrite_matmul: bool = False,
    verify: bool = True,
    max_error: float | None = None,
) -> Exported:
    """Write a pruned model as ONNX: dense weights with exact zeros, checked before it is there.

    Every parameter with zeros is looked for in the exported graph, and each of its zeros has to be
    zero there. The same is done with the graph that onnxruntime's optimisers make of it, and
    onnxruntime's outputs are compared with the model's. A failed check raises, and no file appears.

    Runtimes for dense networks are not made faster by zeros. TensorRT can use 2:4 patterns: see
    `tensorrt_eligibility`.

    Parameters
    ----------
    model : torch.nn.Module
        Stays as it is. A copy is exported, in evaluation mode: sparse layers as dense ones, masks
        of ``torch.nn.utils.prune`` and parametrizations carried out.
    example_inputs : tensor, tuple or dict
        What the model is called with, as in ``sc.nn.sparsify_``.
    path : path
        Ends in ".onnx". A model too large for one file has its weights beside it, in
        ``path.data``, or where that is there in ``path-1a2b3c4d.data``; those of an older model
        called `path` are deleted when it is replaced.
    dynamic_batch : bool
        Whether the first axis of the inputs stays open: of all that are as long there as the first.
    opset : int, optional
        Of torch's exporter, if not its own choice; before 18 only where it can convert the model.
    rewrite_matmul : bool
        Whether a product with a constant matrix becomes Gemm, reshaped where it has more than two
        axes. For builds of TensorRT that leave MatMuls out (docs/export.md); others are no faster.
    verify : bool
        Whether onnxruntime is asked. If not, the zeros in the file are checked only.
    max_error : float, optional
        The largest difference of outputs allowed, relative to the largest magnitude of each output
        tensor. Without it what rounding explains: ``(k + 2) eps(accumulator) + eps(dtype)`` for
        each weight of k numbers a row, and eps(dtype) for each node, added up.

    Returns
    -------
    Exported
        What was checked, with numbers; ``print(result)`` says it.

    Raises
    ------
    ModuleNotFoundError
        If onnx, onnxscript or onnxruntime is missing (extra ``export``).
    ArithmeticError
        If a check failed, naming the weight and how many zeros it lost, or the error and its limit.
    ValueError
        If `path` is none for ONNX, or torch's exporter does not write this opset, or the model has
        lazy modules that never ran, or there is no batch to keep open.
    RuntimeError
        If torch's exporter cannot follow the model, or onnxruntime cannot run what it wrote.

    References
    ----------
    ONNX operators Conv, Gemm and MatMul, https://onnx.ai/onnx/operators/.

    Examples
    --------
    >>> import tempfile, torch
    >>> model = torch.nn.Linear(8, 2)
    >>> with torch.no_grad():
    ...     _ = model.weight[:, ::2].zero_()
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     result = to_onnx(model, torch.rand(3, 8), Path(folder, "model.onnx"))
    >>> result.operators, result.weights[0].zeros, result.weights[0].how
    ({'Gemm': 1}, 8, 'bits')
    """
    need("to_onnx", "onnx", "onnxscript", *(["onnxruntime"] if verify else []))
    target = _checked_path(path)
    example = Example.of(example_inputs, caller="to_onnx")
    check_initialized(model, caller="to_onnx")
    expected = leaf_tensors(
        example.output(model)
    )  # first: what does not run is no exporter's fault
    traced = trace(dense_copy(model), example, dynamic_batch=dynamic_batch, opset=opset)
    gemms = matmuls_to_gemms(traced.proto) if rewrite_matmul else ()
    pruned = _weights(traced.parameters)
    weights = check_zeros(pruned, constants(traced.proto), where="to_onnx: the exported graph")
    optimised: tuple[WeightCheck, ...] | None = None
    error = allowed = None
    pairs = [(example, expected)]
    if dynamic_batch:
        more = longer(example, _batch(example) + 1)
        pairs.append((more, leaf_tensors(more.output(model))))
    with _appearing(target) as staged:
        _write(traced.proto, staged, target)
        if verify:
            found = optimised_constants(staged, staged.parent)
            where = "to_onnx: the graph after onnxruntime's optimisers"
            optimised = check_zeros(pruned, found, where=where)
            allowed = allowed_error(traced.parameters, len(traced.proto.graph.node))
            limit = allowed if max_error is None else max_error
            error = max(_compared(staged, given, outputs, limit) for given, outputs in pairs)
        nbytes = sum(file.stat().st_size for file in _files(staged))
    return Exported(
        path=target,
        nbytes=nbytes,
        opset=max(o.version for o in traced.proto.opset_import if o.domain in {"", "ai.onnx"}),
        operators=dict(Counter(node.op_type for node in traced.proto.graph.node)),
        weights=weights,
        optimised=optimised,
        error=error,
        allowed=allowed,
        batches=tuple(_batch(given) for given, _ in pairs) if verify else (),
        gemms=gemms,
    )


def _checked_path(path: str | os.PathLike[str]) -> Path:
    target = Path(path)
    if target.suffix != ".onnx":
        msg = f"to_onnx: path ends in {target.suffix!r}, expected '.onnx'"
        raise ValueError(msg)
    if not target.parent.is_dir():
        msg = f"to_onnx: the folder of path does not exist: {target.parent}"
        raise FileNotFoundError(msg)
    return target


def _weights(parameters: dict[str, Tensor]) -> dict[str, Array]:
    return {
        name: numbers_of(tensor)
        for name, tensor in parameters.items()
        if tensor.ndim >= 2 and tensor.is_floating_point()
    }


def _batch(example: Example) -> int:
    tensors = leaf_tensors((example.args, dict(example.kwargs)))
    return len(tensors[0]) if tensors and tensors[0].ndim else 0


def _compared(staged: Path, example: Example, outputs: list[Tensor], limit: float) -> float:
    """Return the error of onnxruntime's outputs, or raise ArithmeticError."""
    inputs = leaf_tensors((example.args, dict(example.kwargs)))
    error = outputs_difference(outputs_of(staged, inputs), [y.cpu() for y in outputs])
    if not error <= limit:
        msg = (
            f"to_onnx: onnxruntime's outputs differ from torch's by {error:.3g} (relative), where "
            f"{limit:.3g} is allowed, with a batch of {_batch(example)}; max_error= allows more"
        )
        raise ArithmeticError(msg)
    return error


# ---- the file ----


@contextmanager
def _appearing(target: Path) -> Iterator[Path]:
    """Yield a path of the same name in a folder of its own, whose files appear when all went well.

    The weights of a large model first, under a name that nothing has: until the graph is exchanged
    the older one is whole. What it alone has named goes then.
    """
    prefix = f".{target.name}."
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=prefix) as folder:
        staged = Path(folder, target.name)
        yield staged
        older = data_beside(target)
        for file in _files(staged):
            file.replace(target.with_name(file.name))
        for file in older:
            file.unlink(missing_ok=True)


def _files(staged: Path) -> list[Path]:
    """Return the files that were staged, the graph last."""
    return [*data_beside(staged), staged]


def _write(proto: "onnx.ModelProto", staged: Path, target: Path) -> None:
    import onnx

    if sum(len(tensor.raw_data) for tensor in proto.graph.initializer) <= _LARGEST_WEIGHTS:
        staged.write_bytes(proto.SerializeToString())
    else:
        copy = type(proto)()
        copy.CopyFrom(proto)
        onnx.save(copy, staged, save_as_external_data=True, location=unused_data(target).name)
