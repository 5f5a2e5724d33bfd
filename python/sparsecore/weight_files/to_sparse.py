"""Weights written sparse, where that is smaller: a checkpoint that sparsecore and its modules read.

A weight is read when it is planned, to find its format, and again when it is written: once for each
of its tensors, since a file has the widest tensors first. So no more than one is in memory.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np

from sparsecore.checkpoint import Checkpoint
from sparsecore.checkpoint_save import layer_name, stored_arrays, write_planned_checkpoint
from sparsecore.conv_geometry import ConvGeometry
from sparsecore.files.checkpoint_header import Header, Layer
from sparsecore.files.tensor_writing import Planned
from sparsecore.interop import Array
from sparsecore.weight_files.entry import Entry
from sparsecore.weight_files.plan import Outcome, Plan
from sparsecore.weight_files.sparsified import sparsified
from sparsecore.weight_files.weights import WeightFiles

__all__ = ["LastRead", "has_layer_axes", "is_called_weight", "is_layer", "plan_sparse"]


def has_layer_axes(entry: Entry) -> bool:
    """Whether a tensor has as many axes as the weight of a linear layer or a convolution."""
    return len(entry.shape) in (2, 4)


def is_called_weight(entry: Entry) -> bool:
    """Whether a tensor has the name of a layer's weight: the header has layers by their names."""
    return entry.name.rpartition(".")[2] == "weight"


def is_layer(entry: Entry, skip: Iterable[str]) -> bool:
    """Whether a tensor is a layer's weight by its name and its axes, and not to be skipped."""
    is_weight = has_layer_axes(entry) and is_called_weight(entry)
    return is_weight and not any(fnmatchcase(entry.name, pattern) for pattern in skip)


@dataclass(slots=True)
class LastRead:
    """What was read last, for those who ask for one weight several times in a row."""

    weights: WeightFiles
    _name: str | None = None
    _array: Array = field(default_factory=lambda: np.empty(0))

    def dense(self, name: str) -> Array:
        """Read a weight, unless it is the one that was read before."""
        if name != self._name:
            self._name, self._array = None, np.empty(0)  # two would need the memory of two
            self._array = self.weights.dense(name)
            self._name = name
        return self._array


def _check_dense(weights: WeightFiles) -> None:
    header = weights.source.header if isinstance(weights.source, Checkpoint) else Header()
    if header.layers or header.fused.modules:
        msg = f"{weights.path} already is a sparse checkpoint"
        raise ValueError(msg)


def _geometry(entry: Entry) -> ConvGeometry | None:
    """Return the geometry of a convolution, where the file said it."""
    return entry.use.geometry if entry.use is not None and len(entry.shape) == 4 else None


def plan_sparse(
    weights: WeightFiles, target: Path, skip: Iterable[str], shard_bytes: int | None
) -> Plan:
    """Plan a checkpoint in which each layer's weight is stored as takes the fewest bytes.

    Raises
    ------
    ValueError
        Where the weights already are of such a checkpoint, whose header would be lost.
    """
    _check_dense(weights)
    skip = tuple(skip)
    planned: dict[str, Planned] = {}
    layers: dict[str, Layer] = {}
    tied: dict[str, str] = {}
    origins: dict[str, tuple[str, int]] = {}  # of a tensor of a sparse layer: weight, which part
    outcomes: list[Outcome] = []
    for name, entry in weights.items():
        if entry.tied_to is not None:
            tied[name] = entry.tied_to
            continue
        if is_layer(entry, skip):
            weight, outcome = sparsified(name, weights.dense(name))
            outcomes.append(outcome)
            if not isinstance(weight, np.ndarray):
                layer = Layer(outcome.stored, entry.shape, _geometry(entry))
                layers[layer_name(name)] = layer
                tensors = zip(layer.tensors(layer_name(name)), stored_arrays(weight), strict=True)
                for part, (tensor, array) in enumerate(tensors):
                    planned[tensor] = Planned.of(tensor, array.dtype, array.shape)
                    origins[tensor] = (name, part)
                continue
        planned[name] = Planned.of(name, weights.numpy_dtype(name), entry.shape)
    last = LastRead(weights)

    def read(tensor: str) -> Array:
        if tensor not in origins:
            return weights.dense(tensor)
        name, part = origins[tensor]
        weight, _ = sparsified(name, last.dense(name))
        assert not isinstance(weight, np.ndarray)  # as it was when it was planned
        return stored_arrays(weight)[part]

    def write() -> str:
        header = Header(layers, tied)
        return str(write_planned_checkpoint(target, planned, read, header, shard_bytes))

    return Plan(outcomes, write)
