"""What linear layers see of their inputs: sums over the rows of X, and how many rows there were.

Sums and counts of several sets of batches add up, so that these can be spread over processes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

__all__ = [
    "InputMoments",
    "add_rows_",
    "evaluating",
    "hessian",
    "is_linear",
    "is_transposed",
    "no_moments",
    "norms",
    "observed_moments",
    "split_batch",
]

Call: TypeAlias = tuple[tuple[Any, ...], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class InputMoments:
    """Sums over the rows x of a layer's inputs.

    Attributes
    ----------
    total : Tensor, shape (in, in) or (in,)
        The sum of ``x x^T``, or of its diagonal alone; float64 where the inputs are, else float32.
    count : int
        How many rows.
    """

    total: Tensor
    count: int


def no_moments(features: int, *, full: bool, like: Tensor) -> InputMoments:
    """Return the sum over no rows, on the device of `like`; `full`: with products of two inputs."""
    dtype = torch.float64 if like.dtype == torch.float64 else torch.float32
    shape = (features, features) if full else (features,)
    return InputMoments(torch.zeros(shape, dtype=dtype, device=like.device), 0)


def add_rows_(moments: InputMoments, x: Tensor) -> InputMoments:
    """Add the rows of x; the total is added to in place.

    Parameters
    ----------
    moments : InputMoments
    x : Tensor, shape (..., in)
        Any floating dtype; products are summed in the dtype of the total.

    Returns
    -------
    InputMoments
        With the same total, and the new count.

    Examples
    --------
    >>> moments = no_moments(2, full=True, like=torch.zeros(()))
    >>> moments = add_rows_(moments, torch.tensor([[[1.0, 2.0]], [[3.0, 0.0]]]))
    >>> moments.total.tolist(), moments.count
    ([[10.0, 2.0], [2.0, 4.0]], 2)
    """
    # Not -1, which has no meaning where there are no features.
    rows = x.detach().reshape(math.prod(x.shape[:-1]), x.shape[-1]).to(moments.total.dtype)
    if moments.total.ndim == 2:
        moments.total.addmm_(rows.T, rows)
    else:
        moments.total.add_(rows.square().sum(0))
    return replace(moments, count=moments.count + len(rows))


def hessian(moments: InputMoments) -> Tensor:
    """Return ``2 X X^T / n``, shape (in, in), X having n columns; the total must be full."""
    return moments.total * (2 / moments.count)


def norms(moments: InputMoments) -> Tensor:
    """Return the norm of each input over all rows, shape (in,)."""
    squares = moments.total.diagonal() if moments.total.ndim == 2 else moments.total
    return squares.sqrt()


# ---- of the layers of a model ----


def is_transposed(module: nn.Module) -> bool:
    """Whether it is a ``Conv1D`` as GPT-2 has it: a linear layer with a weight (in, out)."""
    weight = getattr(module, "weight", None)
    named = type(module).__name__ == "Conv1D" and hasattr(module, "nf")
    return named and isinstance(weight, Tensor) and weight.ndim == 2


def is_linear(module: nn.Module) -> bool:
    """Whether it multiplies its input with a plain parameter `weight`, and nothing else."""
    is_plain = "weight" in module._parameters
    return is_plain and (isinstance(module, nn.Linear) or is_transposed(module))


@contextmanager
def observed_moments(
    layers: Mapping[str, nn.Module], *, full: bool
) -> Iterator[dict[str, InputMoments]]:
    """Add up, while the block lasts, what each of the layers gets as its input.

    Parameters
    ----------
    layers : mapping of str to module
        See `is_linear`.
    full : bool
        Products of two inputs, too, as ``hessian`` needs them.

    Yields
    ------
    dict of str to InputMoments
        Of the layers that were called.
    """
    found: dict[str, InputMoments] = {}

    def observe(name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        x = args[0] if args else next(iter(kwargs.values()))
        if name not in found:
            found[name] = no_moments(x.shape[-1], full=full, like=x)
        found[name] = add_rows_(found[name], x)

    handles = [
        layer.register_forward_pre_hook(
            lambda _, args, kwargs, name=name: observe(name, args, kwargs), with_kwargs=True
        )
        for name, layer in layers.items()
    ]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Run in evaluation mode without gradients; all modules' modes come back, as does the RNG."""
    modes = [(module, module.training) for module in model.modules()]
    devices = {p.device for p in model.parameters() if p.device.type == "cuda"}
    try:
        model.eval()
        with torch.no_grad(), torch.random.fork_rng(devices=devices):
            yield
    finally:
        for module, mode in modes:
            module.training = mode


def split_batch(caller: str, batch: Any, *, pairs: bool) -> Call:
    """Return what a model is called with.

    Parameters
    ----------
    caller : str
        For the message.
    batch : object
        A tensor or a dict of keywords. A tuple or list is a pair of inputs and targets where
        `pairs` says so, else the positional arguments.
    pairs : bool

    Raises
    ------
    TypeError
        It is something else.
    """
    if isinstance(batch, Tensor):
        return (batch,), {}
    if isinstance(batch, Mapping):
        return (), dict(batch)
    if isinstance(batch, tuple | list):
        if not pairs:
            return tuple(batch), {}
        if len(batch) == 2:
            return split_batch(caller, batch[0], pairs=False)
    msg = f"{caller}: a batch is a {type(batch).__name__}, expected inputs "
    msg += "(a tensor or a dict of keywords)" + (" or a pair (inputs, targets)" if pairs else "")
    raise TypeError(msg)
