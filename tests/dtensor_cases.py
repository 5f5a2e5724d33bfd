"""What ranks run in the tests of masks of DTensors. They never load pytest."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, Partial, Replicate, Shard, distribute_tensor

from sparsecore.pruning.distributed_selection import global_masks
from sparsecore.pruning.dtensors import local_blocks, local_mask, local_offset, zero_pruned_

WEIGHTS = ("0.weight", "2.weight")


def network() -> nn.Sequential:
    """Return a small float64 MLP; of 7 and 1 outputs, which 2 ranks share unevenly."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 7), nn.Tanh(), nn.Linear(7, 1)).double()


def batch() -> Tensor:
    return torch.randn(8, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def parts(_rank: int, group: Any, shape: tuple[int, ...], placement: str) -> Any:
    """Return offset and local part, by our functions and by torch, of a mask."""
    mesh = DeviceMesh.from_group(group, "cpu")
    mask = torch.rand(shape, generator=torch.Generator().manual_seed(2)) < 0.5
    placed = {"0": Shard(0), "1": Shard(1), "all": Replicate()}[placement]
    tensor = distribute_tensor(mask, mesh, [placed])
    part = local_mask(mask, tensor)
    shares = part.untyped_storage().data_ptr() == mask.untyped_storage().data_ptr()
    return local_offset(tensor), part.numpy(), tensor.to_local().numpy(), shares


def refused(_rank: int, group: Any, what: str) -> Any:
    mesh = DeviceMesh.from_group(group, "cpu")
    whole = torch.ones(4, 4)
    sharded = distribute_tensor(whole, mesh, [Shard(0)])
    calls = {
        "kind": lambda: local_offset(whole),
        "placement": lambda: local_offset(DTensor.from_local(whole, mesh, [Partial()])),
        "shape": lambda: local_mask(whole[:3] > 0, sharded),
        "axis": lambda: local_blocks({"a": distribute_tensor(whole, mesh, [Shard(1)])}),
        "plain": lambda: local_blocks({"a": whole}),
        "none": lambda: local_blocks({}),
        "part": lambda: zero_pruned_(sharded, whole > 0),
    }
    return calls[what]()


def train(model: nn.Module, x: Tensor, masks: dict[str, Tensor], steps: int = 3) -> Any:
    """Take steps of SGD with momentum; write the masks' zeros to weights and momenta after each."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    weights = {name: model.get_parameter(name) for name in WEIGHTS}
    for name, weight in weights.items():
        zero_pruned_(weight, masks[name])
    for _ in range(steps):
        optimizer.zero_grad()
        model(x).square().mean().backward()
        optimizer.step()
        for name, weight in weights.items():
            zero_pruned_(weight, masks[name])
            zero_pruned_(optimizer.state[weight]["momentum_buffer"], masks[name])
    return weights, {n: optimizer.state[w]["momentum_buffer"] for n, w in weights.items()}


def fsdp(rank: int, group: Any, kept: int) -> Any:
    """Prune by one threshold and train under FSDP2; return masks, weights and momenta, whole."""
    mesh = DeviceMesh.from_group(group, "cpu")
    model = network()
    for layer in (model[0], model[2], model):
        fully_shard(layer, mesh=mesh)
    blocks, own_group = local_blocks({name: model.get_parameter(name) for name in WEIGHTS})
    scores = {name: block.abs() for name, block in blocks.items()}
    masks = global_masks(scores, kept, group=own_group)
    weights, momenta = train(model, batch()[rank :: mesh.size()], masks)
    shape = {name: weight.shape for name, weight in weights.items()}
    whole = {
        name: DTensor.from_local(
            mask.double(), mesh, [Shard(0)], shape=shape[name], stride=weights[name].stride()
        )
        for name, mask in masks.items()
    }
    found = {"masks": whole, "weights": weights, "momenta": momenta}
    return {
        what: {name: t.full_tensor().detach().numpy() for name, t in tensors.items()}
        for what, tensors in found.items()
    }
