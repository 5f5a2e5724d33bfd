"""How many multiplications a network does, and how many of them a pattern leaves."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

__all__ = ["Macs", "count_macs", "positions"]


@dataclass(frozen=True, slots=True)
class Macs:
    """Multiply-accumulates of one run in convolutions and linear layers; no others are counted.

    `total` is of all of them, `prunable` of those that may be pruned, `kept` of all with what is
    zero left out, and `sparse` of the prunable ones that run sparse, their zeros included.
    """

    total: int
    prunable: int
    kept: int
    sparse: int

    @property
    def bound(self) -> float:
        """The speed-up at most, if nothing but nonzeros took time."""
        return self.total / self.kept

    @property
    def sparse_share(self) -> float:
        """The share of prunable multiplications that run sparse."""
        return self.sparse / self.prunable


def positions(model: nn.Module, inputs: Sequence[Tensor]) -> dict[str, int]:
    """Return how often each weight of each convolution and linear layer is used in one run."""
    found: dict[str, int] = {}

    def note(name: str, module: nn.Module, _: object, output: Tensor) -> None:
        assert isinstance(module, nn.Conv2d | nn.Linear)
        found[name] = found.get(name, 0) + output.numel() // module.weight.shape[0]

    hooks = [
        module.register_forward_hook(partial(note, name))
        for name, module in model.named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear)
    ]
    try:
        with torch.no_grad():
            model(*inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return found


def count_macs(
    uses: Mapping[str, int],
    weights: Mapping[str, Tensor],
    prunable: Collection[str],
    sparse: Collection[str],
) -> Macs:
    """Count.

    Parameters
    ----------
    uses : mapping of str to int
        What `positions` returns.
    weights : mapping of str to tensor
        Of the same layers, with the zeros of the pattern.
    prunable, sparse : collection of str
        Layers that may be pruned, and those that run sparse.
    """
    dense = {name: uses[name] * weights[name].numel() for name in uses}
    kept = {name: uses[name] * int(torch.count_nonzero(weights[name])) for name in uses}
    return Macs(
        total=sum(dense.values()),
        prunable=sum(dense[name] for name in prunable),
        kept=sum(kept.values()),
        sparse=sum(dense[name] for name in prunable if name in sparse),
    )
