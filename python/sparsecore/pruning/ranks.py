"""Masks across the ranks of torch.distributed: the same everywhere, and checked to be.

DDP reduces gradients before an optimizer's step, so decisions that depend on weights, reduced
gradients and generators of equal seeds are the same on every rank. What follows finds out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import torch
import torch.distributed as dist
from torch import Tensor

__all__ = ["broadcast_masks", "check_same_on_ranks", "checksum", "is_distributed"]


def is_distributed() -> bool:
    """Whether a process group is initialised that has more ranks than one."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def checksum(tensor: Tensor) -> int:
    """Return a number in [0, 2**62) of a tensor's dtype, shape and bytes: equal ones have one.

    Examples
    --------
    >>> mask = torch.tensor([True, False])
    >>> checksum(mask) == checksum(mask.clone()), checksum(mask) == checksum(~mask)
    (True, False)
    """
    digest = hashlib.blake2b(f"{tensor.dtype} {tuple(tensor.shape)}".encode(), digest_size=8)
    flat = tensor.detach().flatten().cpu()
    digest.update(flat.view(torch.uint8).numpy().data)
    return int.from_bytes(digest.digest(), "little") >> 2


def check_same_on_ranks(
    caller: str,
    tensors: Mapping[str, Tensor],
    *,
    group: dist.ProcessGroup | None = None,
    what: str = "masks",
    expected: str = (
        "the same initial masks, generators of equal seeds, and gradients that DDP has reduced"
    ),
) -> None:
    """Check that named tensors are the same on all ranks; return at once where there is one rank.

    A collective operation, two reductions of few bytes: each rank of the group must call it.

    Parameters
    ----------
    caller : str
        Begins the message.
    tensors : mapping of str to Tensor
        Masks, or what determines them.
    group : ProcessGroup, optional
        The ranks; all where not given.
    what, expected : str
        What the message calls the tensors, and what would have made them the same.

    Raises
    ------
    RuntimeError
        On every rank alike: the names, or a tensor, differ. The message has the names of those
        that do.

    Examples
    --------
    >>> check_same_on_ranks("example", {"weight": torch.ones(2, dtype=torch.bool)})
    """
    if not is_distributed():
        return
    listed = torch.tensor(list("\n".join(tensors).encode()), dtype=torch.uint8)
    if _differing([checksum(listed)], group):
        msg = f"{caller}: the names of weights differ between ranks; here: {', '.join(tensors)}"
        raise RuntimeError(msg)
    places = _differing([checksum(tensor) for tensor in tensors.values()], group)
    if places:
        differing = ", ".join(list(tensors)[place] for place in places)
        msg = f"{caller}: {what} of {differing} differ between ranks; expected {expected}"
        raise RuntimeError(msg)


def broadcast_masks(
    masks: Mapping[str, Tensor], *, source: int = 0, group: dist.ProcessGroup | None = None
) -> dict[str, Tensor]:
    """Return the masks that one rank has, on every rank; a copy where there is one rank.

    A collective operation: each rank of the group must call it, with the same names and shapes.

    Parameters
    ----------
    masks : mapping of str to Tensor of bool
        Left as they are.
    source : int
        The global rank whose masks count.
    group : ProcessGroup, optional
        The ranks; all where not given.

    Examples
    --------
    >>> broadcast_masks({"weight": torch.tensor([True, False])})
    {'weight': tensor([ True, False])}
    """
    received = {name: mask.to(torch.uint8).contiguous() for name, mask in masks.items()}
    if is_distributed():
        for mask in received.values():
            dist.broadcast(mask, src=source, group=group)
    return {name: mask.bool() for name, mask in received.items()}


def _differing(numbers: list[int], group: dist.ProcessGroup | None) -> list[int]:
    """Return the places whose numbers are not the same on all ranks."""
    if not numbers:
        return []
    # NCCL reduces tensors of its own device only; gloo those of the CPU, also beside NCCL.
    alone = "nccl" in dist.get_backend(group) and "gloo" not in dist.get_backend(group)
    own = torch.tensor(numbers, dtype=torch.int64, device="cuda" if alone else "cpu")
    # One reduction has both ends: the maximum of -x is the minimum's negative.
    ends = torch.stack([own, -own])
    dist.all_reduce(ends, op=dist.ReduceOp.MAX, group=group)
    return [int(place) for place in (ends[0] != -ends[1]).nonzero()]
