"""Wanda: the magnitude of a weight times the norm of what it is multiplied with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from sparsecore.interop import import_torch, is_tensor, torch_or_none
from sparsecore.pruning._checks import check_arrays

if TYPE_CHECKING:
    from torch import nn

    from sparsecore.pruning._arrays import Array

__all__ = ["wanda"]


def wanda(
    weights: Mapping[str, Array],
    *,
    norms: Mapping[str, Array] | None = None,
    model: nn.Module | None = None,
    batches: Iterable[Any] | None = None,
    loss: object = None,  # noqa: ARG001 - what scores of a model are called with
    group: Any = None,
) -> dict[str, Any]:
    """Score each weight of linear layers by ``abs(w_ij) * norm2(x_j)``.

    x_j is input j over all calibration tokens. The norms come as an argument, or from running a
    model. Scores of one layer compare within a row, the weights of one output: that is how the
    paper prunes, with an equal share of each row. ``prune_blocks(method="wanda")`` does; it also
    takes the norms of each block anew behind the pruned ones before it.

    Parameters
    ----------
    weights : mapping of str to array or tensor, shape (out, in)
        With `model` also the weights of ``Conv1D`` modules as GPT-2 has them, (in, out).
    norms : mapping of str to array or tensor, shape (in,)
        Of each weight's inputs.
    model : torch.nn.Module
        In the place of `norms`: the weights are those of its Linear modules, by parameter name. It
        is run with them in evaluation mode and without gradients, and is unchanged afterwards.
    batches : iterable
        Of inputs, or of ``(inputs, targets)``; inputs are a tensor, a tuple of positional arguments
        or a dict of keywords. A tuple or list is always a pair. Targets are not used.
    loss : object
        Not used: other scores of a model take one.
    group : torch.distributed.ProcessGroup, optional
        With `model`: each of its ranks, such as ``dist.group.WORLD``, gives batches of its own,
        whose sums are added up. Sharded weights (``fully_shard``) take the ranks of their mesh.

    Returns
    -------
    dict of str to array or tensor
        Of the weights' shapes and kinds; float64 where a weight or its norms are, else float32.

    Raises
    ------
    TypeError
        Neither `norms` alone nor `model` and `batches`; weights or norms that are no mapping of
        arrays; a batch of another form.
    ValueError
        A weight without norms, or whose shape does not fit them; one that is no weight of a Linear
        module; a module that the batches do not reach.

    References
    ----------
    Sun et al., "A Simple and Effective Pruning Approach for Large Language Models", ICLR 2024
    (arXiv:2306.11695), section 3.

    Examples
    --------
    >>> import numpy as np
    >>> wanda({"fc": np.array([[1.0, -2.0, 3.0]])}, norms={"fc": np.array([100.0, 10.0, 1.0])})
    {'fc': array([[100.,  20.,   3.]])}
    """
    check_arrays("wanda", weights)
    if norms is not None and model is None and batches is None:
        check_arrays("wanda", norms, argument="norms")
        return {name: _score(name, weight, norms) for name, weight in weights.items()}
    if norms is not None or model is None or batches is None:
        given = {"norms": norms, "model": model, "batches": batches}
        listed = ", ".join(f"{name}=" for name, value in given.items() if value is not None)
        msg = f"wanda: got {listed or 'none'} of them, expected norms=, or model= and batches="
        raise TypeError(msg)
    if not isinstance(model, import_torch().nn.Module):
        msg = f"wanda: model is {type(model).__name__}, expected a torch.nn.Module"
        raise TypeError(msg)
    from sparsecore.pruning.layer_inputs import input_norms
    from sparsecore.pruning.wrapped_models import any_sharded

    if any_sharded(weights):
        return _sharded(weights, model, batches)
    found, transposed = input_norms("wanda", weights, model, batches, group=group)
    return {
        name: _score(name, weight.T, found).T if name in transposed else _score(name, weight, found)
        for name, weight in weights.items()
    }


def _sharded(
    weights: Mapping[str, Any], model: nn.Module, batches: Iterable[Any]
) -> dict[str, Any]:
    from sparsecore.pruning.dtensors import placed_as
    from sparsecore.pruning.scores._sharded_runs import input_norms

    found = input_norms("wanda", model, weights, batches)
    # Along the first axis shards are whole rows, and the norms are of the columns.
    return {
        name: placed_as(_score(name, weight.detach().to_local(), found), weight)
        for name, weight in weights.items()
    }


def _score(name: str, weight: Any, norms: Mapping[str, Any]) -> Any:
    norm = norms.get(name)
    shape = None if norm is None else tuple(norm.shape)
    if norm is not None and is_tensor(norm) != is_tensor(weight):
        msg = f"wanda: {name!r} is a {type(weight).__name__}, its norms a {type(norm).__name__}, "
        msg += "expected both of one kind"
        raise TypeError(msg)
    if weight.ndim != 2 or shape != (weight.shape[-1],):
        msg = f"wanda: {name!r} has shape {tuple(weight.shape)} and norms of shape {shape}, "
        msg += "expected (out, in) and (in,)"
        raise ValueError(msg)
    return abs(_wide(weight)) * _wide(norm)


def _wide(array: Any) -> Any:
    """Return an array without a graph, in float32 where it is of fewer bits."""
    torch = torch_or_none()
    if torch is not None and is_tensor(array):
        array = array.detach()
        return array if array.dtype == torch.float64 else array.float()
    return array if array.dtype == "float64" else array.astype("float32")
