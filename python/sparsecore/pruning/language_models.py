"""Language models pruned layer by layer, each block by the inputs that the pruned ones give it.

The work is done in ``blockwise``; this is what it offers.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sparsecore.pruning._checks import is_iterable
from sparsecore.pruning._numbers import is_positive_integer
from sparsecore.pruning.blockwise.in_files import InFiles, ModelFiles, open_model
from sparsecore.pruning.blockwise.in_memory import InMemory
from sparsecore.pruning.blockwise.loop import named_blocks, prune_stack, selected_layers
from sparsecore.pruning.blockwise.request import Method, PrunedLayer, Request
from sparsecore.pruning.generators import seeded_generator
from sparsecore.pruning.model_masks import Where
from sparsecore.pruning.patterns import ANY_POSITION, Pattern
from sparsecore.pruning.wrapped_models import is_sharded, unwrapped

__all__ = ["ModelFiles", "PrunedLayer", "prune_blocks", "token_batches"]


def prune_blocks(
    model: nn.Module | ModelFiles,
    batches: Iterable[Any] | None = None,
    *,
    blocks: str,
    sparsity: float,
    method: Method = "sparsegpt",
    pattern: Pattern = ANY_POSITION,
    sequence_length: int | None = None,
    where: Where | None = None,
    spill: str | os.PathLike[str] | None = None,
    columns: int = 128,
    damping: float = 0.01,
    group: Any = None,
) -> tuple[PrunedLayer, ...]:
    """Prune the linear layers of a stack of blocks, one block at a time, without training.

    The calibration batches are run up to the first block. Then each block is run on its inputs,
    which are observed at its linear layers; these are pruned; and the block is run again, so that
    the next one gets the inputs that it will have. Only ``Linear`` weights (and ``Conv1D`` ones as
    GPT-2 has them) inside of the blocks are pruned: embeddings, norms, biases and heads stay.

    Parameters
    ----------
    model : torch.nn.Module or ModelFiles
        A model, which is pruned in place; or one in files, of which a block at a time is in memory.
    batches : iterable
        Calibration data: inputs, or ``(inputs, targets)``; inputs are a tensor, a tuple of
        positional arguments or a dict of keywords. A tuple or list is always a pair. It is gone
        through once. Not needed for "magnitude".
    blocks : str
        The name of the ModuleList (or Sequential) with the blocks, such as ``"transformer.h"``.
    sparsity : float
        Fraction of each layer to prune, in [0, 1); of a layer's weights ``round(sparsity * size)``.
    method : "sparsegpt", "wanda" or "magnitude"
        See ``scores.sparsegpt``, which changes the weights that stay, too; ``scores.wanda``, with
        an equal share of each row; ``scores.magnitude``, with one threshold for a layer.
    pattern : Unstructured or NM
        ``NM(n, m)`` along a layer's inputs goes with the sparsity 1 - n / m.
    sequence_length : int
        Tokens in each sequence of the batches, axis 1 of the hidden states. Explicit, because
        calibration with other lengths than a model will see is a silent loss.
    where : callable, optional
        ``(name, weight) -> bool`` narrows the selection. Of a model in files, weights have only
        shapes.
    spill : path, optional
        A folder for the hidden states between two blocks, which otherwise are in memory.
    columns, damping
        Of SparseGPT: ``scores.sparsegpt``'s `block` and `damping`.
    group : torch.distributed.ProcessGroup, optional
        Each of its ranks has the whole model in memory and gives batches of its own; what their
        layers see is added up, and every rank gets the same weights.

    Returns
    -------
    tuple of PrunedLayer
        Name, shape and kept count of each layer, those of an earlier run included.

    Raises
    ------
    ValueError
        An argument out of range or without meaning together with another; blocks that the model
        does not run one after the other; a layer that gets no input; numbers that are not finite;
        files that do not fit the model, or a target that was begun with something else; a model in
        files together with `group`, or a sharded one.
    TypeError
        An argument, batches or blocks of another kind; a block that is handed a cache.
    RuntimeError
        On every rank of `group`: a block's weights differ after it was pruned.

    Notes
    -----
    Blocks get all arguments that the model calls each with, beside the hidden states; equal ones of
    several batches are held once. The model runs in evaluation mode and without gradients; modes
    and the random state come back. A model in memory that is refused half-way keeps the blocks
    pruned that were done. A weight that several layers share is pruned once, by the inputs of the
    first.

    For a model in files the peak is about: a block (twice while it is written), what its observed
    layers sum up (in^2 float32 numbers each for SparseGPT, and five times the largest of these),
    the modules that run before the first block, two batches of a block's own activations, and all
    batches' hidden states unless `spill` is given. A run that was killed goes on behind the last
    block that was written: it runs the blocks before it again, and the result has the same bits.

    References
    ----------
    Frantar and Alistarh, "SparseGPT", ICML 2023 (arXiv:2301.00774);
    Sun et al., "A Simple and Effective Pruning Approach for Large Language Models", ICLR 2024
    (arXiv:2306.11695), section 3.

    Examples
    --------
    >>> model = nn.Sequential(nn.Embedding(30, 8), *(nn.Linear(8, 8) for _ in range(2)))
    >>> model = nn.Sequential(model[0], nn.Sequential(*model[1:]))
    >>> tokens = token_batches(torch.arange(900) % 30, sequence_length=16, count=4)
    >>> for layer in prune_blocks(model, tokens, blocks="1", sparsity=0.5, sequence_length=16):
    ...     print(layer)
    PrunedLayer(name='1.0.weight', shape=(8, 8), kept=32)
    PrunedLayer(name='1.1.weight', shape=(8, 8), kept=32)
    """
    if batches is not None and not is_iterable(batches):
        msg = f"prune_blocks: batches is {type(batches).__name__}, expected an iterable of batches"
        raise TypeError(msg)
    if where is not None and not callable(where):
        msg = (
            f"prune_blocks: where is {type(where).__name__}, expected a function of (name, weight)"
        )
        raise TypeError(msg)
    request = Request(method, sparsity, pattern, sequence_length, columns, damping)
    folder = None if spill is None else Path(spill)
    if isinstance(model, nn.Module):
        whole, group = unwrapped("prune_blocks", model, group)
        stack = InMemory(whole, named_blocks(whole, blocks))
        selected = selected_layers(stack.blocks, request, where)
        _check_whole(selected)
        return tuple(prune_stack(stack, batches, request, selected, folder, group=group))
    if not isinstance(model, ModelFiles):
        msg = (
            f"prune_blocks: model is {type(model).__name__}, expected a torch module or ModelFiles"
        )
        raise TypeError(msg)
    if group is not None:
        msg = (
            "prune_blocks: group is given with a model in files, to which one process writes; "
            "expected a module that is whole in the memory of each rank"
        )
        raise ValueError(msg)
    empty, tensors = open_model(model)
    named = named_blocks(empty, blocks)
    selected = selected_layers(named, request, where)
    settings = {**request.settings(), "layers": [name for layers in selected for name in layers]}
    files = InFiles(model, empty, tensors, named, settings)
    pruned = prune_stack(files, batches, request, selected, folder)
    files.complete()
    return tuple(pruned)


def _check_whole(selected: Sequence[Mapping[str, nn.Module]]) -> None:
    for name, layer in ((n, layer) for layers in selected for n, layer in layers.items()):
        if is_sharded(layer.weight):
            msg = (
                f"prune_blocks: {name} is sharded over ranks; expected a whole model on each rank "
                "(with group=), before fully_shard"
            )
            raise ValueError(msg)


def token_batches(
    tokens: Tensor,
    *,
    sequence_length: int,
    count: int = 128,
    generator: torch.Generator | None = None,
) -> list[Tensor]:
    """Draw calibration sequences from a text: windows at random places.

    Parameters
    ----------
    tokens : Tensor, shape (t,)
        The text's token numbers.
    sequence_length : int
        Tokens in a window, at least 1 and at most t.
    count : int
        Windows; the papers take 128 of 2048 tokens.
    generator : torch.Generator, optional
        Draws the places. Without it one is made, with seed 0.

    Returns
    -------
    list of Tensor, shape (1, sequence_length)

    Raises
    ------
    ValueError
        `tokens` is not one text of that length; a number is no integer of at least 1.
    TypeError
        `tokens` is no tensor, `generator` is of another kind.

    Examples
    --------
    >>> [window.shape for window in token_batches(torch.arange(9), sequence_length=4, count=2)]
    [torch.Size([1, 4]), torch.Size([1, 4])]
    """
    if not isinstance(tokens, Tensor):
        msg = f"token_batches: tokens is {type(tokens).__name__}, expected a tensor"
        raise TypeError(msg)
    for name, number in (("sequence_length", sequence_length), ("count", count)):
        if not is_positive_integer(number):
            msg = f"token_batches: {name} is {number!r}, expected an integer of at least 1"
            raise ValueError(msg)
    if tokens.ndim != 1 or sequence_length > len(tokens):
        msg = (
            f"token_batches: tokens has shape {tuple(tokens.shape)}, expected (t,) with t at least "
        )
        msg += f"sequence_length={sequence_length}"
        raise ValueError(msg)
    drawn = seeded_generator("token_batches", generator)
    starts = torch.randint(len(tokens) - sequence_length + 1, (count,), generator=drawn)
    return [tokens[start : start + sequence_length][None] for start in starts.tolist()]
