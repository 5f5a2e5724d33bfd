"""Which parameters are driven already: a mask has one master."""

from __future__ import annotations

from torch.optim import Optimizer

__all__ = ["claimed"]


def claimed(optimizer: Optimizer) -> dict[int, str]:
    """Return the ids of the parameters that drivers and pruners on an optimizer work on.

    Each with the name of the class that does. The optimizer's own hooks are the one record that
    removed ones have left: their owners answer ``_weights()`` with parameters by name.

    Examples
    --------
    >>> import torch
    >>> from sparsecore.pruning import Pruner
    >>> model = torch.nn.Linear(4, 2)
    >>> optimizer = torch.optim.SGD(model.parameters())
    >>> pruner = Pruner(model, sparsity=0.5, optimizer=optimizer)
    >>> claimed(optimizer) == {id(model.weight): "Pruner"}
    True
    """
    owners = (getattr(h, "__self__", None) for h in optimizer._optimizer_step_post_hooks.values())
    return {
        id(weight): type(owner).__name__
        for owner in owners
        if owner is not None and callable(getattr(owner, "_weights", None))
        for weight in owner._weights().values()
    }
