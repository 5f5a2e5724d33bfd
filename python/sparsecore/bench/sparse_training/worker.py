"""One training in a process of its own: ``python -m sparsecore.bench.sparse_training.worker JSON``.

Reads what to train from its argument and prints what it took.
"""

import json
import sys
from collections.abc import Callable
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn

import sparsecore as sc
from sparsecore.bench.models import NETWORKS
from sparsecore.bench.sparse_training.masked_dense import MaskedDense
from sparsecore.bench.sparse_training.process_memory import Growth
from sparsecore.nn.csr_layer import CSRLayer
from sparsecore.pruning import RigL, allocation

__all__ = ["train"]

EVERY = 5
_CLASSES = 10


def _mlp() -> nn.Module:
    """Three layers of 2048 x 2048 that take part, and a classifier that does not."""
    # Without memory of their own: they never have a dense weight unless they are given one.
    layers = [nn.Linear(2048, 2048, bias=False, device="meta") for _ in range(3)]
    body = [module for layer in layers for module in (layer, nn.ReLU())]
    return nn.Sequential(*body, nn.Linear(2048, _CLASSES))


def _network(name: str) -> tuple[nn.Module, tuple[int, ...], tuple[str, ...]]:
    """Return a network, the shape of one input, and the layers that stay dense."""
    if name == "mlp":
        return _mlp(), (2048,), ("6",)
    return NETWORKS["resnet20"].build(), (3, 32, 32), NETWORKS["resnet20"].ends


def train(task: dict[str, Any]) -> dict[str, Any]:
    """Train a network one way and return what it took.

    Parameters
    ----------
    task : dict
        `network`, `way` ("csr" or "masked dense"), `batch`, `sparsity` (in percent), `steps`,
        `seed`.

    Returns
    -------
    dict
        ``bytes`` of the tensors that last from step to step, and ``total`` of them;
        ``peak_bytes`` and ``kept_bytes``, by which the process grew; ``step_seconds`` and
        ``update_seconds``, medians; ``losses``.
    """
    growth = Growth()
    torch.manual_seed(task["seed"])
    model, shape, ends = _network(task["network"])
    generator = torch.Generator().manual_seed(task["seed"])
    sc.nn.sparse_init_(
        model,
        task["sparsity"] / 100,
        allocation=allocation.uniform,
        where=lambda name, _: name not in ends,
        generator=generator,
    )
    dense = task["way"] == "masked dense"
    taking_part = _made_dense(model) if dense else {}
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    settings = {"total_steps": task["steps"], "every": EVERY}
    masked = MaskedDense(taking_part, optimizer, **settings) if dense else None
    if masked is None:
        RigL(model, optimizer, **settings)
    step = optimizer.step if masked is None else masked.step
    losses, seconds = _steps(model, shape, step, optimizer, task)
    sizes = _sizes(model, optimizer, None if masked is None else masked.masks)
    peak = growth.peak()
    updates = [t for n, t in enumerate(seconds, 1) if n % EVERY == 0 and n < 0.75 * len(seconds)]
    ordinary = [t for n, t in enumerate(seconds, 1) if n % EVERY != 0 and n > 1]
    return {
        "bytes": sizes,
        "total": sum(sizes.values()),
        "peak_bytes": peak,
        "kept_bytes": growth.kept(),
        "step_seconds": _median(ordinary),
        "update_seconds": _median(updates),
        "losses": losses,
    }


def _made_dense(model: nn.Module) -> dict[str, nn.Parameter]:
    """Put dense layers in the place of the sparse ones, with the same numbers, one by one."""
    weights = {}
    for name, layer in list(model.named_modules()):
        if isinstance(layer, CSRLayer):
            dense = layer.to_dense()
            parent, _, own = name.rpartition(".")
            model.get_submodule(parent).register_module(own, dense)
            weights[name] = dense.weight
    return weights


def _steps(
    model: nn.Module,
    shape: tuple[int, ...],
    step: Callable[[], object],
    optimizer: torch.optim.Optimizer,
    task: dict[str, Any],
) -> tuple[list[float], list[float]]:
    """Train on random batches; return losses and seconds of each step."""
    generator = torch.Generator().manual_seed(task["seed"] + 1)
    losses, seconds = [], []
    for number in range(task["steps"]):
        x = torch.randn(task["batch"], *shape, generator=generator)
        y = torch.randint(_CLASSES, (task["batch"],), generator=generator)
        begun = perf_counter()
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()  # type: ignore[no-untyped-call]
        # The last gradients stay, to be counted.
        if number + 1 < task["steps"]:
            step()
        losses.append(loss.item())
        seconds.append(perf_counter() - begun)
    return losses, seconds[:-1]


def _sizes(
    model: nn.Module, optimizer: torch.optim.Optimizer, masks: dict[str, Tensor] | None
) -> dict[str, int]:
    """Return the bytes of everything that lasts from step to step."""
    states = [v for s in optimizer.state.values() for v in s.values() if isinstance(v, Tensor)]
    layers = [m for m in model.modules() if isinstance(m, CSRLayer)]
    structure = sum(layer.indices.nbytes + layer.indptr.nbytes for layer in layers)
    return {
        "weights": sum(p.nbytes for p in model.parameters()),
        "gradients": sum(p.grad.nbytes for p in model.parameters() if p.grad is not None),
        "optimizer": sum(state.nbytes for state in states),
        "masks": sum(mask.nbytes for mask in (masks or {}).values()),
        "structure": structure,
        "kernels": sum(layer.nbytes - layer.values.nbytes for layer in layers) - structure,
    }


def _median(seconds: list[float]) -> float:
    return sorted(seconds)[len(seconds) // 2]


def main() -> None:
    """Train a little first, so that what libraries load is there, then what was asked."""
    task = json.loads(sys.argv[1])
    torch.set_num_threads(task["threads"])
    sc.set_num_threads(task["threads"])
    train({**task, "network": "resnet20", "batch": 1, "steps": 11})
    print(json.dumps(train(task)))


if __name__ == "__main__":
    main()
