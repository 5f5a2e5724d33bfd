"""What ranks run in the tests of pruned training under DDP and FSDP2. They never load pytest."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

from parallel_pruning_cases import NAMES, batches, loss, network, parameters, whole, wrapped
from sparsecore.pruning import Cubic, Iterative, Pruner, Rewind, RigL, prune, prune_blocks, scores
from sparsecore.pruning.allocation import global_

STEPS, SAVED = 8, 4
RAMP = Cubic(begin=1, end=7, every=2)


class Run:
    """A model in training with SGD and a driver of its masks."""

    def __init__(self, group: Any, kind: str, driver: str, seed: int) -> None:
        model = network()
        torch.manual_seed(seed)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.copy_(torch.randn(parameter.shape))
        self.model = wrapped(group, kind, model)
        self.sgd = torch.optim.SGD(self.model.parameters(), lr=0.01, momentum=0.9)
        self.driver: Any
        if driver == "Pruner":
            self.driver = Pruner(
                self.model, sparsity=0.7, schedule=RAMP, allocation=global_, optimizer=self.sgd
            )
        else:
            masks = prune(self.model, 0.5)
            self.driver = RigL(self.model, self.sgd, total_steps=20, every=3, masks=masks)

    def train(self, group: Any, first: int, last: int) -> None:
        rank, ranks = dist.get_rank(group), dist.get_world_size(group)
        for x, y in batches((8,) * STEPS)[first:last]:
            self.sgd.zero_grad()
            loss(self.model(x[rank::ranks]).tanh(), y[rank::ranks]).backward()
            self.sgd.step()

    def state(self) -> dict[str, Any]:
        model, optimizer = get_state_dict(self.model, self.sgd)
        return {"model": model, "optimizer": optimizer, "driver": self.driver.state_dict()}

    def load(self, state: dict[str, Any]) -> None:
        set_state_dict(
            self.model,
            self.sgd,
            model_state_dict=state["model"],
            optim_state_dict=state["optimizer"],
        )
        self.driver.load_state_dict(state["driver"])

    def found(self) -> dict[str, Any]:
        """Return masks, weights and momenta, whole; pruned places are zeros in all of them."""
        weights = parameters(self.model)
        momenta = {n: self.sgd.state[w]["momentum_buffer"] for n, w in weights.items()}
        found = {
            "masks": whole(self.driver.masks),
            "weights": whole(weights),
            "momenta": whole(momenta),
        }
        for name in NAMES:
            outside = ~found["masks"][name]
            assert not found["weights"][name][outside].any()
            assert not found["momenta"][name][outside].any()
            assert found["momenta"][name].any()
        return found


def resumed(_rank: int, group: Any, kind: str, driver: str, folder: Path) -> Any:
    """Return what one run gives, and what a second one that loads a checkpoint of the first."""
    first = Run(group, kind, driver, seed=0)
    first.train(group, 0, SAVED)
    if kind == "FSDP2":
        assert all(isinstance(mask, DTensor) for mask in first.driver.masks.values())
    dcp.save(first.state(), checkpoint_id=folder, process_group=group)
    first.train(group, SAVED, STEPS)
    second = Run(group, kind, driver, seed=1)
    state = second.state()
    dcp.load(state, checkpoint_id=folder, process_group=group)
    second.load(state)
    second.train(group, SAVED, STEPS)
    return first.found(), second.found()


def killed(rank: int, group: Any, folder: Path, dying: int | None) -> Any:
    """Train with a checkpoint half-way; one rank is killed after it. A later run goes on."""
    run = Run(group, "DDP", "Pruner", seed=0)
    path, first = folder / "checkpoint.pt", 0
    if path.exists():
        run.load(torch.load(path, weights_only=True))
        first = SAVED
    else:
        run.train(group, 0, SAVED)
        state = run.state()
        if rank == 0:
            torch.save(state, path)
        dist.barrier(group)
    if rank == dying:
        os.kill(os.getpid(), signal.SIGKILL)
    run.train(group, first or SAVED, STEPS)
    return first, run.found()


def after_evaluation(rank: int, group: Any) -> Any:
    """Prune by rounds after forwards without a backward, which leave gathered weights behind."""
    model = network()
    fully_shard(model, mesh=DeviceMesh.from_group(group, "cpu"))
    sgd = torch.optim.SGD(model.parameters(), lr=0.1)
    pruner = Pruner(model, sparsity=0.5, schedule=Iterative(2), allocation=global_, optimizer=sgd)
    for _ in pruner.rounds():
        with torch.no_grad():
            model(batches()[rank][0])
        assert not any(isinstance(p, DTensor) for p in model.parameters())
    return whole(pruner.masks)


def rewound(rank: int, group: Any) -> Any:
    """Prune in two rounds, going back after each; return masks and float64 weights, whole."""
    ranks = 1 if group is None else group.size()
    model = wrapped(group, "FSDP2" if group else "alone", network().double())
    sgd = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    schedule = Iterative(2, every=4)
    pruner = Pruner(model, sparsity=0.6, schedule=schedule, optimizer=sgd, rewind=Rewind(1))
    for x, y in batches((8,) * 9):
        sgd.zero_grad()
        own = slice(rank, None, ranks)
        loss(model(x[own].double()).tanh(), y[own].double()).backward()
        sgd.step()
    return whole(pruner.masks), whole(parameters(model))


def snip_leaves_the_model(rank: int, group: Any) -> Any:
    """Return what of a sharded model differs after SNIP and Wanda: nothing."""
    model = nn.Sequential(nn.Linear(12, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 3))
    model[1].eval()
    model = wrapped(group, "FSDP2", model)
    loss(model(batches()[2][0]), batches()[2][1]).backward()
    gradients = [p.grad for p in model.parameters()]
    before = [t.clone() for t in (*model.buffers(), *(g.to_local() for g in gradients))]
    modes, state = [m.training for m in model.modules()], torch.get_rng_state()
    weights = {name: model.get_parameter(name) for name in ("0.weight", "3.weight")}
    given: Any = {"model": model, "batches": batches((2, 4, 3, 2))[rank::2]}
    scores.snip(weights, loss=loss, **given)
    scores.wanda(weights, **given)
    now = [*model.buffers(), *(p.grad.to_local() for p in model.parameters())]
    return {
        "tensors": all(map(torch.equal, before, now)),
        "gradients": all(p.grad is g for p, g in zip(model.parameters(), gradients, strict=True)),
        "modes": modes == [m.training for m in model.modules()],
        "random": torch.equal(state, torch.get_rng_state()),
    }


def stack() -> nn.Sequential:
    """Return a model with blocks "1", of tokens."""
    torch.manual_seed(2)
    blocks = (
        nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 16)).double() for _ in range(2)
    )
    return nn.Sequential(nn.Embedding(40, 16).double(), nn.Sequential(*blocks))


def blocks(rank: int, group: Any, method: str, texts: list[Tensor]) -> Any:
    """Prune the blocks, each rank having some of the texts; return their weights."""
    model = stack()
    own = texts if group is None else (texts[:2], texts[2:])[rank]
    settings: Any = {"blocks": "1", "sparsity": 0.5, "method": method, "sequence_length": 12}
    prune_blocks(model, own, group=group, **settings)
    return {n: p.detach().numpy() for n, p in model[1].named_parameters()}
