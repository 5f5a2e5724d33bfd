"""What ranks run in the tests of pruning under DDP and FSDP2. They never load pytest."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

from sparsecore.pruning import NM, RigL, Unstructured, prune, scores
from sparsecore.pruning.allocation import global_
from sparsecore.pruning.scores import snip, wanda

NAMES = ("0.weight", "2.weight")
INPUTS, HIDDEN, OUTPUTS = 12, 15, 3
# Uneven, so that a mean over ranks that forgets the numbers of samples is another.
SIZES = (2, 5, 3, 6, 1, 4, 7, 4)


def network() -> nn.Sequential:
    """Return a small float32 MLP; 15 and 3 rows do not divide among 2 or 4 ranks."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(INPUTS, HIDDEN, bias=False), nn.ReLU(), nn.Linear(HIDDEN, OUTPUTS, bias=False)
    )


def batches(sizes: tuple[int, ...] = SIZES) -> list[tuple[Tensor, Tensor]]:
    draw = torch.Generator().manual_seed(1)
    return [
        (torch.randn(n, INPUTS, generator=draw), torch.randn(n, OUTPUTS, generator=draw))
        for n in sizes
    ]


def loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return a loss that is linear in the outputs, so that gradients are sums of products."""
    return (outputs * targets).sum(1).mean()


def wrapped(group: Any, kind: str, model: nn.Module | None = None) -> Any:
    """Return the network as this rank trains it."""
    model = network() if model is None else model
    if kind == "FSDP2":
        mesh = DeviceMesh.from_group(group, "cpu")
        for layer in (*(m for m in model if isinstance(m, nn.Linear)), model):
            fully_shard(layer, mesh=mesh)
        return model
    return model if group is None else DistributedDataParallel(model, process_group=group)


def whole(tensors: Any) -> dict[str, Any]:
    """Return tensors, gathered where they are sharded, as arrays."""
    gathered = {n: t.full_tensor() if hasattr(t, "full_tensor") else t for n, t in tensors.items()}
    return {name: tensor.detach().numpy().copy() for name, tensor in gathered.items()}


def parameters(model: Any) -> dict[str, Tensor]:
    inner = model.module if isinstance(model, DistributedDataParallel) else model
    return {name: inner.get_parameter(name) for name in NAMES}


PRUNED: dict[str, Callable[[Any, Any], Any]] = {
    "magnitude": lambda model, _: prune(model, 0.6, allocation=global_),
    "uniform": lambda model, _: prune(model, 0.6),
    "rows": lambda model, _: prune(model, 0.55, pattern=Unstructured(axis=0)),
    "2:4": lambda model, _: prune(model, 0.5, pattern=NM(2, 4)),
    "random": lambda model, _: prune(
        model, 0.6, score=functools.partial(scores.random, generator=torch.Generator())
    ),
    "snip": lambda model, own: prune(
        model, 0.6, score=snip, allocation=global_, batches=own, loss=loss
    ),
    "wanda": lambda model, own: prune(
        model, 0.6, score=wanda, pattern=Unstructured(axis=0), batches=own
    ),
}


def pruned(rank: int, group: Any, kind: str, method: str) -> Any:
    """Return this rank's masks, whole, and whether weights are zero where they say so."""
    ranks = 1 if group is None else group.size()
    model = wrapped(group, kind)
    masks = whole(PRUNED[method](model, batches()[rank::ranks]))
    weights = whole(parameters(model))
    assert all((weights[name][~mask] == 0).all() for name, mask in masks.items())
    assert all((weights[name][mask] != 0).all() for name, mask in masks.items())
    return masks


def initial_masks() -> dict[str, Tensor]:
    return prune(network(), 0.5)


def rigl(rank: int, group: Any, kind: str) -> Any:
    """Take one mask update from the even shares of one batch, and one step."""
    ranks = 1 if group is None else group.size()
    model = wrapped(group, kind)
    sgd = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    driver = RigL(model, sgd, total_steps=10, every=2, masks=initial_masks())
    driver.load_state_dict({**driver.state_dict(), "step": 1})
    ((x, y),) = batches((16,))
    loss(model(x[rank::ranks]), y[rank::ranks]).backward()
    sgd.step()
    masks = whole(driver.masks)
    loss(model(x[rank::ranks]), y[rank::ranks]).backward()
    sgd.step()
    assert driver.nnz() == {name: int(mask.sum()) for name, mask in masks.items()}
    weights = parameters(model)
    momenta = whole({n: sgd.state[w]["momentum_buffer"] for n, w in weights.items()})
    for name, weight in whole(weights).items():
        assert not weight[~masks[name]].any()
        assert not momenta[name][~masks[name]].any()
        assert momenta[name].any()
    return masks


def reduced_scores(rank: int, group: Any) -> Any:
    """Return float64 scores of all families over uneven batches, each rank having its own."""
    ranks = 1 if group is None else group.size()
    own = [(x.double(), y.double()) for x, y in batches()][rank::ranks]
    # Another number of batches on each rank.
    own = own[:-1] if rank else own if group is None else [*own, batches_of_the_others(ranks)]
    model = network().double()
    weights = dict(model.named_parameters())
    given: Any = {"model": model, "batches": own, "loss": loss, "group": group}
    square = {**given, "loss": nn.functional.mse_loss}
    found = {
        "snip": snip(weights, **given),
        "taylor": scores.taylor(weights, **given),
        "obd": scores.obd(weights, **given),
        "exact obd": scores.obd(weights, exact=True, **square),
        "grasp": scores.grasp(weights, temperature=1, **square),
        "wanda": wanda(weights, **given),
    }
    return {name: whole(score) for name, score in found.items()}


def batches_of_the_others(ranks: int) -> Any:
    """Return the last batch of rank 1, which that rank leaves out; of 2 ranks."""
    assert ranks == 2
    x, y = batches()[1::2][-1]
    return x.double(), y.double()
