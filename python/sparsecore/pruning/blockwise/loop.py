"""Block after block: run on the calibration batches, prune, run again for the next one's inputs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor, nn

from sparsecore.pruning.blockwise.activations import Activations, activations
from sparsecore.pruning.blockwise.calls import (
    BlockCall,
    TensorPool,
    block_calls,
    first_call,
    run_block,
)
from sparsecore.pruning.blockwise.layers import check_same_weights, linear_layers, prune_layers
from sparsecore.pruning.blockwise.request import PrunedLayer, Request
from sparsecore.pruning.input_moments import (
    InputMoments,
    evaluating,
    is_transposed,
    observed_moments,
    split_batch,
)
from sparsecore.pruning.layer_inputs import moments_of_ranks
from sparsecore.pruning.model_masks import Where
from sparsecore.pruning.patterns import NM
from sparsecore.pruning.rank_sums import agreed

__all__ = ["Stack", "block_moments", "named_blocks", "prune_stack", "selected_layers"]


class Stack(Protocol):
    """A model's blocks, wherever their weights are."""

    @property
    def model(self) -> nn.Module:
        """The whole model."""

    @property
    def blocks(self) -> Mapping[str, nn.Module]:
        """The blocks by their names, in their order."""

    @property
    def done(self) -> Sequence[Sequence[PrunedLayer]]:
        """What was pruned before, block by block: these are only run."""

    def outside(self) -> AbstractContextManager[object]:
        """While it lasts, the model's weights outside of the blocks are there."""

    def block(self, index: int) -> AbstractContextManager[object]:
        """While it lasts, the block's weights are there."""

    def begin(self, calibration: str | None) -> None:
        """Take the digest of the calibration data, before the first block is pruned."""

    def finish(self, index: int, layers: Sequence[PrunedLayer]) -> None:
        """Keep the block, whose weights are there, as it is now."""


def named_blocks(model: nn.Module, name: str) -> dict[str, nn.Module]:
    """Return the blocks in the ModuleList or Sequential of this name, by their full names.

    Raises
    ------
    ValueError
        There is none, it is empty, or one module is there twice.
    """
    holder = dict(model.named_modules()).get(name)
    if not isinstance(holder, nn.ModuleList | nn.Sequential) or not len(holder):
        lists = [n for n, m in model.named_modules() if isinstance(m, nn.ModuleList) and len(m)]
        found = "nothing" if holder is None else f"a {type(holder).__name__}"
        msg = f"prune_blocks: blocks is {name!r}, which is {found} in {type(model).__name__}, "
        msg += f"expected the name of a ModuleList with blocks; it has {', '.join(lists) or 'none'}"
        raise ValueError(msg)
    children = {child: module for child, module in holder._modules.items() if module is not None}
    if len(set(map(id, children.values()))) < len(children):
        msg = f"prune_blocks: one module is there twice in {name!r}, expected blocks of their own"
        raise ValueError(msg)
    return {f"{name}.{child}" if name else child: module for child, module in children.items()}


def selected_layers(
    blocks: Mapping[str, nn.Module], request: Request, where: Where | None
) -> list[dict[str, nn.Module]]:
    """Return the linear layers of each block that are to be pruned, by their weights' names.

    Raises
    ------
    ValueError
        There are none, or one is narrower than a group of the pattern.
    """
    seen: set[int] = set()  # of all blocks: what they share is pruned once, in the first of them
    selected = [linear_layers(block, name, where, seen) for name, block in blocks.items()]
    if not any(selected):
        narrowed = "" if where is None else " that where= selects"
        msg = f"prune_blocks: the blocks have no Linear weight{narrowed}"
        raise ValueError(msg)
    for name, layer in ((name, layer) for layers in selected for name, layer in layers.items()):
        shape = layer.get_parameter("weight").shape
        width = shape[0] if is_transposed(layer) else shape[1]
        if isinstance(request.pattern, NM) and width < request.pattern.m:
            msg = f"prune_blocks: {name} has {width} inputs, less than a group of "
            msg += f"{request.pattern}; leave it out by where="
            raise ValueError(msg)
    return selected


def prune_stack(
    stack: Stack,
    batches: Iterable[Any] | None,
    request: Request,
    selected: Sequence[Mapping[str, nn.Module]],
    spill: Path | None,
    *,
    group: Any = None,
) -> list[PrunedLayer]:
    """Prune the blocks that are not done; return what was pruned of all.

    With a process group each rank has batches of its own, and sums over them are added up.
    """
    pruned = [layer for layers in stack.done for layer in layers]
    if len(stack.done) == len(stack.blocks):
        return pruned
    with activations(spill) as hidden, evaluating(stack.model):
        calls: list[list[BlockCall]] = []
        digest = None
        if request.calibrates:
            calls, digest = agreed(
                "prune_blocks",
                lambda: _calibration(stack, batches, request, hidden),
                group=group,
            )
        stack.begin(digest)
        first = 0 if calls else len(stack.done)
        for index in range(first, len(stack.blocks)):
            own = [each[index] for each in calls]
            pruned += _prune_one(stack, index, selected[index], hidden, own, request, group)
    return pruned


def _prune_one(
    stack: Stack,
    index: int,
    layers: Mapping[str, nn.Module],
    hidden: Activations,
    calls: Sequence[BlockCall],
    request: Request,
    group: Any,
) -> list[PrunedLayer]:
    """Prune a block unless it is done; put its outputs in the place of its inputs."""
    block = list(stack.blocks.values())[index]
    pruned: list[PrunedLayer] = []
    with stack.block(index):
        if index >= len(stack.done):
            full = request.method == "sparsegpt"
            moments = moments_of_ranks(
                "prune_blocks",
                layers,
                lambda: block_moments(block, layers, hidden, calls, full=full),
                full=full,
                group=group,
            )
            pruned = prune_layers(layers, moments, request)
            if group is not None:
                check_same_weights(layers, group)
            stack.finish(index, pruned)
        if index + 1 < len(stack.blocks):
            for number, call in enumerate(calls):
                hidden[number] = run_block(block, hidden[number], call)[0]
    return pruned


def block_moments(
    block: nn.Module,
    layers: Mapping[str, nn.Module],
    hidden: Activations | Sequence[Tensor],
    calls: Sequence[BlockCall],
    *,
    full: bool,
) -> dict[str, InputMoments]:
    """Run a block on its inputs; return plain sums over what its layers got, and counts.

    Parameters
    ----------
    block : torch.nn.Module
    layers : mapping of str to module
        Some of its linear layers.
    hidden : sequence of Tensor
        The block's inputs, a tensor for each of the `calls`.
    calls : sequence of BlockCall
    full : bool
        Of products of two inputs; else of squares alone.

    Returns
    -------
    dict of str to InputMoments
        Totals and counts of several sets of batches add up to those of all.
    """
    with observed_moments(layers, full=full) as moments:
        for number, call in enumerate(calls):
            run_block(block, hidden[number], call)
    return moments


def _calibration(
    stack: Stack, batches: Iterable[Any] | None, request: Request, hidden: Activations
) -> tuple[list[list[BlockCall]], str]:
    """Fill `hidden` with the first block's inputs; return how each batch calls each block."""
    pool, calls = TensorPool(), []
    blocks = list(stack.blocks.values())
    like: tuple[Any, ...] | None = None
    with stack.outside():
        for number, batch in enumerate(() if batches is None else batches):
            args, kwargs = split_batch("prune_blocks", batch, pairs=True)
            if number == 0:
                x, call = first_call(stack.model, blocks[0], args, kwargs)
                with stack.block(0):
                    like = run_block(blocks[0], x, call)[1]
            x, found = block_calls(stack.model, blocks, args, kwargs, like=like)
            _check_length(number, x, request)
            hidden.append(x)
            pool.see(x)
            calls.append([pool.call(call) for call in found])
    if not calls:
        msg = f"prune_blocks: batches has none, expected inputs: {request.method!r} runs the model"
        raise ValueError(msg)
    return calls, pool.digest()


def _check_length(number: int, x: Tensor, request: Request) -> None:
    if x.ndim < 2 or x.shape[1] != request.sequence_length:
        msg = (
            f"prune_blocks: batch {number} reaches the first block as hidden states of shape "
            f"{tuple(x.shape)}, expected sequence_length={request.sequence_length} along axis 1"
        )
        raise ValueError(msg)
