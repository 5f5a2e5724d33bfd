"""Weights written dense to safetensors: one file, or several with an index."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from sparsecore.checkpoint import Checkpoint
from sparsecore.files.tensor_reading import TensorFiles
from sparsecore.files.tensor_writing import Planned, write_planned
from sparsecore.interop import Array
from sparsecore.weight_files.plan import Plan, bytes_text, unchanged
from sparsecore.weight_files.weights import WeightFiles

__all__ = ["plan_safetensors"]

_FUSED = (
    "the model was fused for running: these are its weights with BatchNorms folded into them, "
    "which the original class does not take"
)


def plan_safetensors(weights: WeightFiles, target: Path, shard_bytes: int | None) -> Plan:
    """Plan a file of dense weights; a tied one is written under each of its names.

    Of a dense safetensors file the metadata stay, and what was not replaced is copied byte by byte.
    """
    files = weights.source if weights.kind == "safetensors" else None
    planned: dict[str, Planned] = {}
    readers: dict[str, Callable[[], Array]] = {}
    for name, entry in weights.items():
        if isinstance(files, TensorFiles) and name not in weights.replaced:
            found = files.entries[name]
            planned[name] = Planned(found.dtype_name, found.shape, found.nbytes)
            readers[name] = partial(files.read_bytes, name)
        else:
            planned[name] = Planned.of(name, weights.numpy_dtype(name), entry.shape)
            readers[name] = partial(weights.dense, name)
    metadata = {"format": "pt"}
    if isinstance(files, TensorFiles):
        metadata = dict(next(iter(files.metadata.values()), {})) or metadata

    def write() -> str:
        return bytes_text(
            write_planned(
                target,
                planned,
                lambda name: readers[name](),
                metadata=lambda *_: metadata,
                shard_bytes=shard_bytes,
            )
        )

    outcomes = [unchanged(entry, planned[name].nbytes) for name, entry in weights.items()]
    source = weights.source
    is_fused = isinstance(source, Checkpoint) and bool(source.header.fused.modules)
    return Plan(outcomes, write, (_FUSED,) if is_fused else ())
