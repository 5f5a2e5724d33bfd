"""Weights written by bitmask, as compressed-tensors had them, where they are 2:4."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from sparsecore.compressed_tensors import encoded
from sparsecore.files.bitmask import is_24
from sparsecore.files.tensor_writing import Planned, write_planned
from sparsecore.formats import Sparse24
from sparsecore.interop import FLOAT8_DTYPES, VALUE_DTYPES, Array
from sparsecore.weight_files.entry import Entry
from sparsecore.weight_files.plan import Outcome, Plan, bytes_text
from sparsecore.weight_files.to_sparse import LastRead, is_layer
from sparsecore.weight_files.weights import WeightFiles

__all__ = ["plan_bitmask"]

_DTYPES = (*VALUE_DTYPES, *FLOAT8_DTYPES)


def plan_bitmask(
    weights: WeightFiles, target: Path, skip: Iterable[str], shard_bytes: int | None
) -> Plan:
    """Plan ``sparse-24-bitmask``: the weights of linear layers that are 2:4, the rest dense."""
    skip = tuple(skip)
    planned: dict[str, Planned] = {}
    origins: dict[str, str] = {}  # of a tensor of a weight by bitmask: its weight
    outcomes: list[Outcome] = []
    for name, entry in weights.items():
        if len(entry.shape) == 2 and is_layer(entry, skip):
            outcome, tensors = _encoded(entry, weights.dense(name))
            outcomes.append(outcome)
            if tensors:
                planned |= {t: Planned.of(t, a.dtype, a.shape) for t, a in tensors.items()}
                origins |= dict.fromkeys(tensors, name)
                continue
        planned[name] = Planned.of(name, weights.numpy_dtype(name), entry.shape)
    last = LastRead(weights)

    def read(tensor: str) -> Array:
        if tensor not in origins:
            return weights.dense(tensor)
        name = origins[tensor]
        return _encoded(weights[name], last.dense(name))[1][tensor]

    def write() -> str:
        return bytes_text(
            write_planned(
                target,
                planned,
                read,
                metadata=lambda *_: {"format": "pt"},
                group=lambda tensor: origins.get(tensor, tensor),
                shard_bytes=shard_bytes,
            )
        )

    return Plan(outcomes, write)


def _encoded(entry: Entry, weight: Array) -> tuple[Outcome, dict[str, Array]]:
    """Return what becomes of a weight, and its tensors; none where it stays dense."""
    sparsity = 1 - np.count_nonzero(weight) / max(weight.size, 1)
    why, tensors = "", {}
    if entry.dtype not in _DTYPES:
        why = f"the format has no {entry.dtype}"
    elif entry.shape[1] % 4 or not weight.size:
        why = "its columns are no multiple of 4"
    elif not is_24(weight):
        why = "it is not 2:4"
    else:
        tensors = encoded(entry.name, Sparse24.from_dense(weight))
    after = sum(array.nbytes for array in tensors.values()) or weight.nbytes
    stored = "bitmask" if tensors else "dense"
    why = why or f"{after / weight.nbytes:.3g} of the dense bytes"
    outcome = Outcome(entry.name, entry.shape, float(sparsity), stored, weight.nbytes, after, why)
    return outcome, tensors
