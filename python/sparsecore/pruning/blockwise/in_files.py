"""A model whose weights stay in files: read a block at a time, written a block at a time."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

import torch
from torch import Tensor, nn

from sparsecore import interop
from sparsecore.files.tensor_reading import SUFFIX, TensorFiles, open_tensors
from sparsecore.pruning.blockwise.empty_model import (
    built_empty,
    give,
    loaded_when_called,
    own_tensors,
    take_back,
)
from sparsecore.pruning.blockwise.journal import (
    Journal,
    check_same,
    read_journal,
    write_journal,
)
from sparsecore.pruning.blockwise.request import PrunedLayer
from sparsecore.pruning.blockwise.shards import (
    STEM,
    index_path,
    plan_shards,
    write_index,
    write_shard,
)

__all__ = ["InFiles", "ModelFiles", "open_model"]

PathLike: TypeAlias = str | os.PathLike[str]
_JOURNAL = "pruning.json"


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """A model in safetensors files, to be pruned into others without ever being whole in memory.

    Attributes
    ----------
    source : path
        A ``.safetensors`` file, an index ``NAME.safetensors.index.json``, or the folder of one.
    target : path
        A folder for the result, one file for each block, then the others, at last
        ``model.safetensors.index.json``. Beside them ``pruning.json`` says how far the work has
        come: a run that finds one there goes on with it.
    build : callable
        Returns the model, of the class whose parameters have the names of the files' tensors. Its
        parameters get no memory; what it computes as buffers is kept.
    device : str or torch.device
        Where the blocks are run; the batches have to be there, too.
    """

    source: PathLike
    target: PathLike
    build: Callable[[], nn.Module]
    device: str | torch.device = "cpu"


def open_model(files: ModelFiles) -> tuple[nn.Module, TensorFiles]:
    """Build the empty model and read the files' headers.

    Raises
    ------
    ValueError
        A tensor has another shape in the files, a dtype that is not read, or one that the model
        needs is nowhere; the target is the source's folder.
    """
    tensors = open_tensors(Path(files.source))
    if tensors.path.parent.resolve() == Path(files.target).resolve():
        msg = f"prune_blocks: target is {files.target}, the source's own folder; expected another"
        raise ValueError(msg)
    model = built_empty(files.build, torch.device(files.device))
    for name, entry in tensors.entries.items():
        if entry.dtype is None:
            msg = f"{entry.path}: tensor {name!r} has dtype {entry.dtype_name}, which is not read"
            raise ValueError(msg)
    held = {n: x for part, m in model.named_modules() for n, x in own_tensors(m, part).items()}
    for name, tensor in held.items():
        found = tensors.entries.get(name)
        if found is not None and found.shape != tuple(tensor.shape):
            msg = (
                f"{found.path}: {name!r} has shape {found.shape}, the model's {tuple(tensor.shape)}"
            )
            raise ValueError(msg)
    for name, buffer in model.named_buffers():
        if buffer.is_meta and name not in tensors.entries:
            msg = (
                f"prune_blocks: the buffer {name!r} is on the meta device and not in "
                f"{tensors.path}; expected build to make it (its parameters get no memory anyway)"
            )
            raise ValueError(msg)
    return model, tensors


class InFiles:
    """A ``Stack`` of blocks that are in memory only one at a time."""

    def __init__(
        self,
        files: ModelFiles,
        model: nn.Module,
        tensors: TensorFiles,
        blocks: Mapping[str, nn.Module],
        settings: Mapping[str, object],
    ) -> None:
        self.model, self.blocks = model, blocks
        self._tensors, self._device = tensors, torch.device(files.device)
        self._folder = Path(files.target)
        self._names = [_block_tensors(tensors, *item) for item in blocks.items()]
        self._shards = plan_shards(self._folder, tensors, self._names)
        sizes = {path.name: path.stat().st_size for path in tensors.metadata}
        self._journal = Journal({**settings, "source": sizes}, None)
        self._go_on()

    def _go_on(self) -> None:
        """Take over what an earlier run has done in the folder."""
        self._folder.mkdir(parents=True, exist_ok=True)
        for pattern in (f".{STEM}*.tmp", f".{_JOURNAL}*.tmp"):
            for left in self._folder.glob(pattern):  # by a run that was killed
                left.unlink()
        path = self._folder / _JOURNAL
        journal = read_journal(path)
        if journal is None:
            if found := sorted(self._folder.glob(f"*{SUFFIX}*")):
                msg = f"prune_blocks: target has {found[0].name} and no {_JOURNAL}, expected an "
                msg += "empty folder, or one that an earlier run has begun"
                raise ValueError(msg)
            return
        check_same(path, journal, self._journal)
        self._journal = journal

    @property
    def done(self) -> Sequence[Sequence[PrunedLayer]]:
        """What was pruned, of the blocks that are written."""
        return self._journal.blocks

    def outside(self) -> AbstractContextManager[object]:
        """While it lasts, modules outside of the blocks get their weights when they are called."""
        return loaded_when_called(self.model, self.blocks, self._read_source)

    @contextmanager
    def block(self, index: int) -> Iterator[None]:
        """While it lasts, the block's weights are there: pruned ones where it is done."""
        name, block = list(self.blocks.items())[index]
        names = self._names[index]
        source = open_tensors(list(self._shards)[index]) if index < len(self.done) else None
        read = (source or self._tensors).read
        held = {n: interop.as_tensor(read(n), device=self._device) for n in names}
        give(block, name, held)
        try:
            yield
        finally:
            take_back(block, name, held)

    def begin(self, calibration: str | None) -> None:
        """Write the journal, or compare the calibration data with an earlier run's."""
        path = self._folder / _JOURNAL
        now = replace(self._journal, calibration=calibration)
        if self._journal.calibration is not None:
            check_same(path, self._journal, now)
        self._journal = now
        write_journal(path, now)

    def finish(self, index: int, layers: Sequence[PrunedLayer]) -> None:
        """Write the block's file, then the journal."""
        name, block = list(self.blocks.items())[index]
        state = block.state_dict(prefix=f"{name}.")
        arrays = {n: interop.to_numpy(state[n].cpu(), name=n) for n in self._names[index]}
        write_shard(list(self._shards)[index], arrays, self._tensors)
        self._journal = replace(self._journal, blocks=[*self.done, list(layers)])
        write_journal(self._folder / _JOURNAL, self._journal)

    def complete(self) -> None:
        """Copy what is in no block, a file at a time, and write the index."""
        if index_path(self._folder).exists():
            return
        for path, names in list(self._shards.items())[len(self.blocks) :]:
            if not path.exists():
                arrays = {name: self._tensors.read(name) for name in names}
                write_shard(path, arrays, self._tensors)
        write_index(self._folder, self._tensors, self._shards)

    def _read_source(self, name: str) -> Tensor | None:
        if name not in self._tensors.entries:
            return None  # tied to another, or not used before the blocks
        tensor: Tensor = interop.as_tensor(self._tensors.read(name), device=self._device)
        return tensor


def _block_tensors(tensors: TensorFiles, name: str, block: nn.Module) -> list[str]:
    """Return the names of a block's tensors, each of which must be in the files."""
    parts = block.named_modules(prefix=name)
    names = [own for part, module in parts for own in own_tensors(module, part)]
    for own in names:
        if own not in tensors.entries:
            msg = f"{tensors.path}: has no tensor {own!r}, which the block {name!r} consists of"
            raise ValueError(msg)
    return names
