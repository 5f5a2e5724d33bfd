"""What a model calls its blocks with, found by running it with the blocks stood in for."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sparsecore.interop import to_numpy

__all__ = ["BlockCall", "TensorPool", "block_calls", "first_call", "run_block"]

_HIDDEN = "hidden_states"


@dataclass(frozen=True, slots=True)
class BlockCall:
    """How a block is called on one batch, beside the hidden states.

    Attributes
    ----------
    rest : tuple
        Positional arguments after the hidden states.
    keywords : dict
    by_keyword : bool
        The hidden states are the keyword ``hidden_states``, and there are no positional arguments.
    """

    rest: tuple[Any, ...]
    keywords: dict[str, Any]
    by_keyword: bool


class _Reached(Exception):
    """The last block that was asked for got its inputs."""


def run_block(
    block: nn.Module, hidden: Tensor, call: BlockCall
) -> tuple[Tensor, tuple[Any, ...] | None]:
    """Run a block; return its hidden states, and what follows them where it returns a tuple.

    Raises
    ------
    TypeError
        It returns neither a tensor nor a tuple that begins with one.
    """
    if call.by_keyword:
        output = block(**{_HIDDEN: hidden}, **call.keywords)
    else:
        output = block(hidden, *call.rest, **call.keywords)
    first = output[0] if isinstance(output, tuple | list) and output else output
    if not isinstance(first, Tensor):
        msg = f"prune_blocks: a {type(block).__name__} returned a {type(output).__name__}, "
        msg += "expected a tensor or a tuple that begins with one"
        raise TypeError(msg)
    return first, None if first is output else tuple(output[1:])


def first_call(
    model: nn.Module, block: nn.Module, args: Sequence[Any], kwargs: dict[str, Any]
) -> tuple[Tensor, BlockCall]:
    """Run a model until it reaches its first block; return what that would have got.

    Raises
    ------
    ValueError
        The model does not call the block.
    """
    found: list[tuple[Tensor, BlockCall]] = []

    def forward(*args: Any, **kwargs: Any) -> Any:
        found.append(_taken_apart(0, args, kwargs))
        raise _Reached

    _run_until_reached(model, [block], [forward], args, kwargs)
    return found[0]


def block_calls(
    model: nn.Module,
    blocks: Sequence[nn.Module],
    args: Sequence[Any],
    kwargs: dict[str, Any],
    *,
    like: tuple[Any, ...] | None,
) -> tuple[Tensor, list[BlockCall]]:
    """Run a model with blocks that hand on what they get; return what they would have got.

    Parameters
    ----------
    model, blocks
        No block runs, and none of their weights is read.
    args, kwargs
        Of the model.
    like : tuple or None
        What a block returns after the hidden states; None where it returns these alone.

    Returns
    -------
    hidden : Tensor
        What the first block would have got.
    calls : list of BlockCall
        One for each block.

    Raises
    ------
    ValueError
        The model does something to the hidden states between two blocks, or leaves a block out.
    """
    calls: list[BlockCall] = []
    last: list[Tensor] = []

    def stand_in(index: int) -> Callable[..., Any]:
        def forward(*args: Any, **kwargs: Any) -> Any:
            hidden, call = _taken_apart(index, args, kwargs)
            if index != len(calls) or (last and hidden is not last[0]):
                msg = (
                    f"prune_blocks: block {index} is not called with what block {len(calls) - 1} "
                    "returns, expected blocks that are run one after the other"
                )
                raise ValueError(msg)
            calls.append(call)
            last[:] = [hidden]
            if len(calls) == len(blocks):
                raise _Reached
            return hidden if like is None else (hidden, *like)

        return forward

    forwards = [stand_in(index) for index in range(len(blocks))]
    _run_until_reached(model, blocks, forwards, args, kwargs)
    return last[0], calls


def _run_until_reached(
    model: nn.Module,
    blocks: Sequence[nn.Module],
    forwards: Sequence[Callable[..., Any]],
    args: Sequence[Any],
    kwargs: dict[str, Any],
) -> None:
    with _forwards(blocks, forwards):
        try:
            model(*args, **kwargs)
        except _Reached:
            return
    msg = "prune_blocks: the model has not run all of its blocks on a calibration batch, expected "
    msg += "each to be called, in their order"
    raise ValueError(msg)


@contextmanager
def _forwards(
    blocks: Sequence[nn.Module], forwards: Sequence[Callable[..., Any]]
) -> Iterator[None]:
    """Let instances have forwards of their own for a while; everything else of them stays."""
    before = [vars(block).get("forward") for block in blocks]
    try:
        for block, forward in zip(blocks, forwards, strict=True):
            vars(block)["forward"] = forward
        yield
    finally:
        for block, own in zip(blocks, before, strict=True):
            vars(block).pop("forward", None)
            if own is not None:
                vars(block)["forward"] = own


def _taken_apart(
    index: int, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Tensor, BlockCall]:
    by_keyword = not args and _HIDDEN in kwargs
    hidden = kwargs.get(_HIDDEN) if by_keyword else args[0] if args else None
    keywords = {name: value for name, value in kwargs.items() if not by_keyword or name != _HIDDEN}
    if not isinstance(hidden, Tensor):
        msg = (
            f"prune_blocks: block {index} gets a {type(hidden).__name__}, expected the hidden "
            f"states as its first argument or the keyword {_HIDDEN}"
        )
        raise TypeError(msg)
    for name, value in [*enumerate(args[1:], 1), *keywords.items()]:
        if not _is_stateless(value):
            msg = (
                f"prune_blocks: block {index} gets a {type(value).__name__} as argument {name!r}, "
                "which one run could leave changed for the next; expected tensors, numbers and "
                "the like (for a cache, call the model with use_cache=False)"
            )
            raise TypeError(msg)
    return hidden, BlockCall(args[1:], keywords, by_keyword)


def _is_stateless(value: Any) -> bool:
    if isinstance(value, tuple | list):
        return all(map(_is_stateless, value))
    if isinstance(value, dict):
        return all(map(_is_stateless, value.values()))
    plain = (Tensor, str, int, float, torch.dtype, torch.device)
    return value is None or isinstance(value, plain)


class TensorPool:
    """Equal tensors held once: the masks and positions of all batches and blocks are mostly few.

    Its digest is that of all tensors that came, in their order.
    """

    def __init__(self) -> None:
        self._held: dict[tuple[Any, ...], Tensor] = {}
        self._digest = hashlib.blake2b(digest_size=16)

    def see(self, x: Tensor) -> tuple[Any, ...]:
        """Add a tensor to the digest without holding it."""
        array = np.ascontiguousarray(to_numpy(x.detach().cpu(), name="x"))
        content = hashlib.blake2b(array.reshape(-1).view(np.uint8).data, digest_size=16).digest()
        self._digest.update(content)
        return x.shape, x.dtype, x.device, content

    def shared(self, value: Any) -> Any:
        """Return a value with its tensors exchanged for equal ones that are already held."""
        if isinstance(value, Tensor):
            return self._held.setdefault(self.see(value), value.detach())
        if isinstance(value, dict):
            return {name: self.shared(item) for name, item in value.items()}
        if isinstance(value, tuple | list):
            items = [self.shared(item) for item in value]
            # Named tuples are made by _make.
            return getattr(type(value), "_make", type(value))(items)
        return value

    def call(self, call: BlockCall) -> BlockCall:
        """Return a call with its tensors shared."""
        return BlockCall(self.shared(call.rest), self.shared(call.keywords), call.by_keyword)

    def digest(self) -> str:
        """Return the digest of what has come until now."""
        return self._digest.hexdigest()
