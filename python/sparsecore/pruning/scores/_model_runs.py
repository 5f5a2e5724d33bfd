"""A model run on weights that are handed in, so that it is for its owner what it was before.

All scores of a model go through `opened`: the model is called by ``torch.func.functional_call`` on
the weights, its other parameters and clones of its buffers; gradients are of leaves that the model
does not know. Modes and torch's random state are put back, whatever happens in between. Only what
a ``forward`` keeps in plain Python attributes is beyond reach.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from sparsecore.pruning._checks import check_mapping, check_whole
from sparsecore.pruning.model_checks import check_model
from sparsecore.pruning.scores._batches import Batch, read_batches

__all__ = [
    "Loss",
    "Run",
    "check_loss",
    "gradients",
    "loss_of",
    "losses",
    "mean_gradient",
    "mean_of_ranks",
    "opened",
    "running_mean",
]

Loss: TypeAlias = Callable[[Any, Any], Tensor]


@dataclass(frozen=True, slots=True)
class Run:
    """What a call of the model needs.

    Parameters
    ----------
    caller : str
        The score that runs it, for messages.
    model : torch.nn.Module
    weights : dict of str to Tensor
        Leaves that require grad: the weights that are scored.
    state : dict of str to Tensor
        The other parameters, without grad, and clones of the buffers.
    """

    caller: str
    model: nn.Module
    weights: dict[str, Tensor]
    state: dict[str, Tensor]

    def __call__(self, batch: Batch) -> Any:
        """Return what the model makes of the inputs of a batch."""
        named = {**self.state, **self.weights}
        return torch.func.functional_call(self.model, named, batch.args, dict(batch.kwargs))


@contextlib.contextmanager
def opened(
    caller: str, model: nn.Module, weights: Mapping[str, Any], *, training: bool
) -> Iterator[Run]:
    """Give a `Run` of the model, all of its modules in one mode, gradients on.

    Each time it is opened the random numbers are the same ones, so that two passes over the same
    batches have the same dropout.

    Raises
    ------
    TypeError
        `model` is no module; `weights` is no mapping of names to floating-point tensors.
    ValueError
        A weight is no parameter of the model, or has another shape, or two are the same one.
    """
    check_mapping(caller, weights)
    check_whole(caller, weights, "it takes derivatives of whole weights")
    check_model(caller, model)
    owned = _parameters(caller, model, weights)
    with torch.inference_mode(False):  # tensors that a graph may hold
        leaves = {name: weight.detach().requires_grad_() for name, weight in weights.items()}
        state = {n: p.detach() for n, p in model.named_parameters() if id(p) not in owned}
        state.update((name, buffer.detach().clone()) for name, buffer in model.named_buffers())
    modes = [(module, module.training) for module in model.modules()]
    cuda = sorted({t.device.index for t in (*leaves.values(), *state.values()) if t.is_cuda})
    # Gradients are on whatever the caller has off.
    with torch.random.fork_rng(devices=cuda), torch.inference_mode(False), torch.enable_grad():
        try:
            # Not model.train(), which classes override: with effects of their own, at times.
            for module, _ in modes:
                module.training = training
            yield Run(caller, model, leaves, state)
        finally:
            for module, mode in modes:
                module.training = mode


def _parameters(caller: str, model: nn.Module, weights: Mapping[str, Any]) -> dict[int, str]:
    """Return the names of the weights by the identity of the model's parameters."""
    owned: dict[int, str] = {}
    known = dict(model.named_parameters(remove_duplicate=False))
    for name, weight in weights.items():
        if not isinstance(weight, Tensor) or not weight.is_floating_point():
            kind = weight.dtype if isinstance(weight, Tensor) else type(weight).__name__
            msg = f"{caller}: weight {name!r} is {kind}, expected a floating-point torch tensor"
            raise TypeError(msg)
        if name not in known:
            msg = f"{caller}: {type(model).__name__} has no parameter {name!r}"
            raise ValueError(msg)
        parameter = known[name]
        if weight.shape != parameter.shape:
            msg = (
                f"{caller}: weight {name!r} has shape {tuple(weight.shape)}, the model's has "
                f"{tuple(parameter.shape)}"
            )
            raise ValueError(msg)
        if id(parameter) in owned:
            msg = (
                f"{caller}: weights {owned[id(parameter)]!r} and {name!r} are one parameter of "
                "the model, expected it once"
            )
            raise ValueError(msg)
        owned[id(parameter)] = name
    return owned


def losses(
    run: Run, batches: Iterable[Any], loss: Loss | None, *, singly: bool = False
) -> Iterator[tuple[int, Tensor]]:
    """Yield each batch's number of samples and its loss, a scalar with a graph to the weights.

    Parameters
    ----------
    run : Run
    batches : iterable of pairs (inputs, targets)
    loss : callable, optional
        ``loss(outputs, targets)``, a mean over samples; cross entropy where it is None.
    singly : bool
        Take the batches apart into single samples.

    Raises
    ------
    TypeError, ValueError
        A batch is not what it should be, or the loss is no scalar that depends on the weights.
    """
    check_loss(run.caller, loss)
    for whole in read_batches(run.caller, batches):
        for batch in whole.samples_of() if singly else (whole,):
            yield batch.samples, loss_of(run.caller, run(batch), batch.targets, loss)


def check_loss(caller: str, loss: object) -> None:
    """Raise TypeError unless it is a function or None."""
    if loss is not None and not callable(loss):
        kind = type(loss).__name__
        msg = f"{caller}: loss is {loss!r}, a {kind}, expected a function of (outputs, targets)"
        raise TypeError(msg)


def loss_of(caller: str, outputs: Any, targets: Any, loss: Loss | None) -> Tensor:
    """Return the loss of one batch, a scalar with a graph; errors as of `losses`."""
    if loss is None:
        if not isinstance(outputs, Tensor):
            msg = (
                f"{caller}: the model returns {type(outputs).__name__}, which cross_entropy "
                "does not take; pass loss=, such as "
                "lambda outputs, targets: cross_entropy(outputs.logits, targets)"
            )
            raise TypeError(msg)
        loss = nn.functional.cross_entropy
    value = loss(outputs, targets)
    if not isinstance(value, Tensor) or value.numel() != 1:
        shape = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        msg = f"{caller}: loss returned {shape}, expected a tensor with one number"
        raise ValueError(msg)
    if not value.requires_grad:
        msg = f"{caller}: the loss has no gradient: it does not depend on the weights"
        raise ValueError(msg)
    return value.reshape(())


def gradients(run: Run, value: Tensor, *, create_graph: bool = False) -> dict[str, Tensor]:
    """Return the gradient of a scalar for each weight, zeros where it does not depend on one.

    Of weights in halves it is float32, so that squares do not vanish.
    """
    if not value.requires_grad:  # a derivative of a loss that is linear
        return {name: _wide(torch.zeros_like(weight)) for name, weight in run.weights.items()}
    found = torch.autograd.grad(
        value, list(run.weights.values()), create_graph=create_graph, materialize_grads=True
    )
    return {name: _wide(g) for name, g in zip(run.weights, found, strict=True)}


def mean_gradient(
    run: Run, batches: Iterable[Any], loss: Loss | None, *, group: Any = None
) -> dict[str, Tensor]:
    """Return the gradient of the mean loss over all samples of all batches, and of all ranks."""
    terms = ((n, gradients(run, value)) for n, value in losses(run, batches, loss))
    return mean_of_ranks(run.caller, terms, group=group)


def mean_of_ranks(
    caller: str, terms: Iterable[tuple[int, Mapping[str, Tensor]]], *, group: Any
) -> dict[str, Tensor]:
    """Return the mean of tensors by name over the terms of all ranks of a process group.

    What `running_mean` gives for the terms of all of them, to rounding: signed sums are added up,
    with their numbers of samples. Without a group it is `running_mean`.
    """
    if group is None:
        return running_mean(terms)[1]
    from sparsecore.pruning.rank_sums import mean_over_ranks

    return mean_over_ranks(caller, lambda: running_mean(terms), group=group)


def running_mean(
    terms: Iterable[tuple[int, Mapping[str, Tensor]]],
) -> tuple[int, dict[str, Tensor]]:
    """Return the number of samples, and the mean of tensors by name over terms with such numbers.

    That is ``sum_b n_b t_b / sum_b n_b``: the mean over samples, whatever the sizes of batches.
    Halves are accumulated, and returned, in float32.
    """
    total, mean = 0, dict[str, Tensor]()
    for count, term in terms:
        total += count
        for name, value in term.items():
            wide = _wide(value.detach())
            before = mean.get(name, wide)
            mean[name] = before + (wide - before) * (count / total)
    return total, mean


def _wide(value: Tensor) -> Tensor:
    return value.to(torch.promote_types(value.dtype, torch.float32))
