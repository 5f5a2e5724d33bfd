"""What the linear layers of a model see of their inputs, over the batches of one process or of all.

The sums themselves are in ``input_moments``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from sparsecore.pruning.input_moments import (
    InputMoments,
    evaluating,
    is_linear,
    is_transposed,
    no_moments,
    norms,
    observed_moments,
    split_batch,
)
from sparsecore.pruning.model_checks import check_model
from sparsecore.pruning.scores._batches import iterated

__all__ = ["input_norms", "linear_layers_of", "moments_of_ranks", "norms_of"]


def input_norms(
    caller: str,
    weights: Mapping[str, Any],
    model: nn.Module,
    batches: Iterable[Any],
    *,
    group: Any = None,
) -> tuple[dict[str, Tensor], set[str]]:
    """Run a model with the given weights; return the norms of their inputs.

    Parameters
    ----------
    caller : str
    weights : mapping of str to Tensor
        Of linear layers, by name.
    model, batches
        As `scores.wanda` has them.
    group : ProcessGroup, optional
        Adds up what the batches of its ranks give.

    Returns
    -------
    norms : dict of str to Tensor, shape (in,)
    transposed : set of str
        The weights that are (in, out).

    Raises
    ------
    ValueError
        A weight that is not of a linear layer of the model, or whose layer was not called.
    TypeError
        `batches` is no iterable of batches, or a batch is not inputs, or a pair with inputs.
    """
    layers = linear_layers_of(caller, weights, model)
    state = {**weights, **{name: b.clone() for name, b in model.named_buffers()}}

    def observe() -> dict[str, InputMoments]:
        with evaluating(model), observed_moments(layers, full=False) as moments:
            for batch in iterated(caller, batches):
                args, kwargs = split_batch(caller, batch, pairs=True)
                torch.func.functional_call(model, state, args, kwargs)
        return moments

    moments = moments_of_ranks(caller, layers, observe, full=False, group=group)
    transposed = {name for name, layer in layers.items() if is_transposed(layer)}
    return norms_of(caller, layers, moments), transposed


def linear_layers_of(
    caller: str, weights: Mapping[str, Any], model: nn.Module
) -> dict[str, nn.Module]:
    """Return the linear modules whose weights have these names; ValueError where one has none."""
    check_model(caller, model)
    modules = dict(model.named_modules())
    layers: dict[str, nn.Module] = {}
    for name in weights:
        prefix, _, leaf = name.rpartition(".")
        layer = modules.get(prefix)
        if leaf != "weight" or layer is None or not is_linear(layer):
            kind = "nothing" if layer is None else f"a {type(layer).__name__}"
            msg = f"{caller}: {name!r} belongs to {kind}, expected the weight of a Linear module; "
            msg += "leave it out by where="
            raise ValueError(msg)
        layers[name] = layer
    return layers


def norms_of(
    caller: str, layers: Mapping[str, nn.Module], moments: Mapping[str, InputMoments]
) -> dict[str, Tensor]:
    """Return the norms of the layers' inputs; ValueError where a layer got none."""
    if missing := [n for n in layers if n not in moments or not moments[n].count]:
        msg = f"{caller}: {missing[0]!r} got no input from the batches; leave it out by where="
        raise ValueError(msg)
    return {name: norms(moments[name]) for name in layers}


def moments_of_ranks(
    caller: str,
    layers: Mapping[str, nn.Module],
    observe: Callable[[], dict[str, InputMoments]],
    *,
    full: bool,
    group: Any,
) -> dict[str, InputMoments]:
    """Return the moments of the layers' inputs on all ranks of a process group, added up.

    Parameters
    ----------
    caller : str
    layers : mapping of str to module
        The same on every rank.
    observe : callable
        Returns this rank's moments, of those layers that its batches reached. It must not wait for
        other ranks.
    full : bool
        Whether they have products of two inputs.
    group : ProcessGroup or None
        None for this process alone.

    Raises
    ------
    Exception
        On every rank, where `observe` raises on one.
    """
    if group is None:
        return observe()
    from sparsecore.pruning.rank_sums import agreed, sum_over_ranks_

    own = agreed(caller, observe, group=group)
    for name, layer in layers.items():
        if name not in own:
            weight = layer.get_parameter("weight")
            width = weight.shape[0 if is_transposed(layer) else 1]
            own[name] = no_moments(width, full=full, like=weight)
    totals = {name: own[name].total for name in layers}
    counts = torch.tensor([own[name].count for name in layers], dtype=torch.int64)
    sum_over_ranks_({**totals, "counts": counts}, group=group)
    return {
        name: InputMoments(total, int(count))
        for (name, total), count in zip(totals.items(), counts, strict=True)
    }
