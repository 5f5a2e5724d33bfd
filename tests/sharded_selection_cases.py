"""What ranks run in the tests of selections among shards. They never load pytest."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import Shard, distribute_tensor
from torch.utils._python_dispatch import TorchDispatchMode

from parallel_pruning_cases import PRUNED, whole, wrapped
from sparsecore.pruning.growth import largest_outside, smallest
from sparsecore.pruning.sharded_masks import moved_mask


class Messages(TorchDispatchMode):
    """The largest tensor that a collective is given or returns, in numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.largest = 0

    def __torch_dispatch__(  # noqa: D105
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if "c10d" in str(func):
            tensors = torch.utils._pytree.tree_leaves((args, result))
            sizes = [t.numel() for t in tensors if isinstance(t, Tensor)]
            self.largest = max(self.largest, *sizes)
        return result


def messages(_rank: int, group: Any, method: str) -> Any:
    """Return the largest message of a selection, and of gathering one score."""
    model = wrapped(group, "FSDP2", nn.Sequential(nn.Linear(64, 40), nn.Linear(40, 30)))
    with Messages() as selecting:
        PRUNED[method](model, [])
    with Messages() as gathering:
        model[0].weight.full_tensor()
    return selecting.largest, gathering.largest


def moved(_rank: int, group: Any) -> Any:
    """Return RigL's next mask of small integers: entries and gradients with many ties and zeros."""
    draw = torch.Generator().manual_seed(4)
    weight, gradient = (
        torch.randint(-2, 3, (7, 6), generator=draw, dtype=torch.float32) for _ in range(2)
    )
    mask = torch.rand(7, 6, generator=draw) < 0.6
    count, kept = 8, int(mask.sum())
    if group is None:
        positions = mask.flatten().nonzero().flatten()
        stays = torch.ones(kept, dtype=torch.bool)
        stays[smallest(weight[mask], count, name="w")] = False
        grown = largest_outside([(0, gradient.clone())], positions[stays], count, name="g")
        found = torch.zeros(42, dtype=torch.bool)
        found[positions[stays]] = found[grown] = True
        return {"mask": found.view(7, 6).numpy()}
    mesh = DeviceMesh.from_group(group, "cpu")
    placed = [distribute_tensor(t, mesh, [Shard(0)]) for t in (weight, mask, gradient)]
    return whole({"mask": moved_mask("w", *placed, count=count, kept=kept)})
