"""Masks of DTensors: what a rank holds of a parameter that FSDP2 or tensor parallelism shards.

A mask follows its parameter's placement: each rank keeps the part of the mask that lies where its
part of the parameter does, and writes zeros there, without communication. (Arithmetic of a DTensor
with a plain mask is refused by torch, and ranking all its entries would gather them.) Needs torch
2.6, which made DTensor and ``fully_shard`` public.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor, Replicate, Shard

from sparsecore.pruning.zeroing import write_zeros


def local_slices(tensor: DTensor) -> tuple[slice, ...]:
    """Return where this rank's part lies in the whole tensor.

    Parameters
    ----------
    tensor : DTensor
        Sharded or replicated along each dimension of its mesh. A dimension that does not divide
        evenly is cut as ``torch.chunk`` does, so the last ranks may hold less, or nothing.

    Returns
    -------
    tuple of slice
        One for each axis: ``whole[local_slices(tensor)]`` has the shape of ``tensor.to_local()``.

    Raises
    ------
    TypeError
        Not a DTensor.
    ValueError
        A placement of another kind (partial sums, strided shards), or a rank outside the mesh.

    Examples
    --------
    >>> import torch.distributed as dist
    >>> from torch.distributed.tensor import init_device_mesh, distribute_tensor
    >>> dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    >>> tensor = distribute_tensor(torch.ones(5, 3), init_device_mesh("cpu", (1,)), [Shard(0)])
    >>> local_slices(tensor)
    (slice(0, 5, None), slice(0, 3, None))
    >>> dist.destroy_process_group()
    """
    if not isinstance(tensor, DTensor):
        msg = f"local_slices: tensor is a {type(tensor).__name__}, expected a DTensor"
        raise TypeError(msg)
    mesh = tensor.device_mesh
    place = mesh.get_coordinate()
    if place is None:
        msg = "local_slices: this rank does not belong to the tensor's mesh"
        raise ValueError(msg)
    slices = [slice(0, size) for size in tensor.shape]
    for axis, placement in enumerate(tensor.placements):
        if type(placement) is Shard:
            slices[placement.dim] = _chunk(slices[placement.dim], mesh.size(axis), place[axis])
        elif type(placement) is not Replicate:
            msg = f"local_slices: placement is {placement}, expected Shard(axis) or Replicate()"
            raise ValueError(msg)
    return tuple(slices)


def local_offset(tensor: DTensor) -> tuple[int, ...]:
    """Return the index in the whole tensor of the first entry of this rank's part.

    Parameters, errors
        As of `local_slices`.
    """
    return tuple(part.start for part in local_slices(tensor))


def local_mask(mask: Tensor, like: DTensor) -> Tensor:
    """Return this rank's part of a mask of the whole parameter, in memory of its own.

    Parameters
    ----------
    mask : Tensor of bool
        The same on every rank, of the shape of the whole parameter.
    like : DTensor
        The parameter.

    Returns
    -------
    Tensor of bool
        Of the shape of ``like.to_local()``, on its device.

    Raises
    ------
    ValueError
        Another shape, or as `local_slices`.
    TypeError
        As `local_slices`.
    """
    slices = local_slices(like)
    if mask.shape != like.shape:
        msg = f"local_mask: mask has shape {tuple(mask.shape)}, expected {tuple(like.shape)}"
        raise ValueError(msg)
    return mask[slices].to(like.to_local().device, copy=True)


def local_blocks(tensors: Mapping[str, DTensor]) -> tuple[dict[str, Tensor], Any]:
    """Return what `distributed_selection.global_masks` takes: local parts, and their group.

    Parameters
    ----------
    tensors : mapping of str to DTensor
        At least one; each sharded along axis 0 over one and the same mesh of one dimension, as
        FSDP2 does. Then the parts of the ranks, one after the other, are the tensor in its own
        order.

    Returns
    -------
    blocks : dict of str to Tensor
        The local parts, without a graph; they share memory with the tensors.
    group : torch.distributed.ProcessGroup
        Of the mesh.

    Raises
    ------
    TypeError
        Not a DTensor.
    ValueError
        None at all, or another placement or mesh.
    """
    if not tensors:
        msg = "local_blocks: tensors is empty, expected at least one DTensor"
        raise ValueError(msg)
    mesh = None
    for name, tensor in tensors.items():
        if not isinstance(tensor, DTensor):
            msg = f"local_blocks: {name} is a {type(tensor).__name__}, expected a DTensor"
            raise TypeError(msg)
        mesh = tensor.device_mesh if mesh is None else mesh
        if tensor.device_mesh != mesh or tuple(tensor.placements) != (Shard(0),):
            msg = (
                f"local_blocks: {name} is placed {tuple(tensor.placements)} on "
                f"{tensor.device_mesh}, expected Shard(0) alone, on the mesh of the others"
            )
            raise ValueError(msg)
    blocks = {name: tensor.to_local().detach() for name, tensor in tensors.items()}
    return blocks, mesh.get_group() if mesh is not None else None


def placed_as(part: Tensor, like: DTensor) -> DTensor:
    """Return a DTensor of this rank's part, placed as another of the same shape. No communication.

    Parameters
    ----------
    part : Tensor
        Of the shape of ``like.to_local()``, of any dtype.
    like : DTensor

    Raises
    ------
    ValueError
        Another shape.

    Examples
    --------
    >>> import torch.distributed as dist
    >>> from torch.distributed.tensor import init_device_mesh, distribute_tensor
    >>> dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    >>> weight = distribute_tensor(torch.ones(5, 3), init_device_mesh("cpu", (1,)), [Shard(0)])
    >>> placed_as(torch.zeros(5, 3, dtype=torch.bool), weight).placements
    (Shard(dim=0),)
    >>> dist.destroy_process_group()
    """
    expected = tuple(like.to_local().shape)
    if tuple(part.shape) != expected:
        msg = (
            f"placed_as: part has shape {tuple(part.shape)}, expected {expected}, the local part's"
        )
        raise ValueError(msg)
    return DTensor.from_local(
        part.contiguous(),
        like.device_mesh,
        like.placements,
        run_check=False,
        shape=like.shape,
        stride=like.stride(),
    )


def zero_pruned_(tensor: Tensor, mask: Tensor) -> None:
    """Write zeros to this rank's part of a tensor where its part of the mask is False.

    Parameters
    ----------
    tensor : DTensor or Tensor
        A parameter, its gradient, or an optimizer state that is sharded as it is. No gradient
        records the change.
    mask : Tensor of bool
        As from `local_mask`, or of a selection over ranks.

    Raises
    ------
    ValueError
        The mask has not the shape of the local part.
    """
    with torch.no_grad():
        part = tensor.to_local() if isinstance(tensor, DTensor) else tensor
        if mask.shape != part.shape:
            found, expected = tuple(mask.shape), tuple(part.shape)
            msg = f"zero_pruned_: mask has shape {found}, expected {expected}, the local part's"
            raise ValueError(msg)
        write_zeros([part], mask)


def _chunk(whole: slice, parts: int, place: int) -> slice:
    """Return part `place` of a range, cut as torch.chunk cuts."""
    length = -(-(whole.stop - whole.start) // parts)
    start = min(whole.start + place * length, whole.stop)
    return slice(start, min(start + length, whole.stop))
