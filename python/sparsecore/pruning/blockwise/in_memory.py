"""A model whose weights are all there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from torch import nn

from sparsecore.pruning.blockwise.request import PrunedLayer

__all__ = ["InMemory"]


@dataclass(frozen=True, slots=True)
class InMemory:
    """A ``Stack`` that has nothing to load and nothing to keep.

    Raises
    ------
    ValueError
        A parameter or buffer has no values.
    """

    model: nn.Module
    blocks: Mapping[str, nn.Module]
    done: Sequence[Sequence[PrunedLayer]] = ()

    def __post_init__(self) -> None:
        """Refuse a model whose weights are not there."""
        for name, tensor in (*self.model.named_parameters(), *self.model.named_buffers()):
            if tensor.is_meta:
                msg = f"prune_blocks: {name} of the model is on the meta device, which has no "
                msg += "values; give a model in files as ModelFiles"
                raise ValueError(msg)

    def outside(self) -> AbstractContextManager[object]:
        """Do nothing: the weights are there."""
        return nullcontext()

    def block(self, index: int) -> AbstractContextManager[object]:  # noqa: ARG002
        """Do nothing: the weights are there."""
        return nullcontext()

    def begin(self, calibration: str | None) -> None:
        """Do nothing: no other run goes on with this one's work."""

    def finish(self, index: int, layers: Sequence[PrunedLayer]) -> None:
        """Do nothing: the block is where it was."""
