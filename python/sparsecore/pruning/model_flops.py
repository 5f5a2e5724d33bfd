"""Forward FLOPs of a model's layers, from one run on an example."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor, nn

from sparsecore.nn.example import Example, undisturbed
from sparsecore.pruning.flops import layer
from sparsecore.pruning.model_checks import check_model

__all__ = ["forward_flops"]

_CONV = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


def forward_flops(model: nn.Module, example_inputs: Any) -> dict[str, int]:
    """Count the forward FLOPs of the Linear and Conv layers of a dense model.

    Two a multiply-accumulate, with every weight as nonzero and padding as if it were computed;
    biases, normalisation, activations and products of activations (attention) are left out.

    Parameters
    ----------
    model : torch.nn.Module
        Runs once, in eval mode; nothing of it changes.
    example_inputs : tensor, tuple or dict
        The arguments of its forward. FLOPs are those of this batch: take one image for the FLOPs
        of an image.

    Returns
    -------
    dict of str to int
        By the name of the weight, in the order of ``model.named_modules()``. A weight that runs
        twice counts twice; one whose module is not called has 0, as ``out_proj`` has, which
        ``nn.MultiheadAttention`` multiplies with by itself.

    Raises
    ------
    TypeError
        `model` is no module, or `example_inputs` something else.

    See Also
    --------
    sparsecore.pruning.flops : what follows from them for sparse networks and their training.
    torch.utils.flop_counter.FlopCounterMode : counts by operation, not by weight.

    Examples
    --------
    >>> import torch
    >>> model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(16, 10))
    >>> forward_flops(model, torch.zeros(1, 1, 4, 4))
    {'0.weight': 288, '2.weight': 320}
    """
    check_model("forward_flops", model)
    example = Example.of(example_inputs, caller="forward_flops")
    names: dict[nn.Module, str] = {}
    owners: dict[int, str] = {}  # the first name of a shared weight
    for prefix, module in model.named_modules():
        if isinstance(module, (nn.Linear, *_CONV, *_TRANSPOSED)):
            own = module._parameters.get("weight")  # None where it is parametrized
            name = f"{prefix}.weight" if prefix else "weight"
            names[module] = owners.setdefault(id(module if own is None else own), name)
    flops = dict.fromkeys(names.values(), 0)

    def count(module: Any, args: tuple[Any, ...], kwargs: Any, output: Tensor) -> None:
        x = args[0] if args else kwargs["input"]
        positions = _positions(module, x, output)
        flops[names[module]] += layer(module.weight.shape, positions)

    handles = [module.register_forward_hook(count, with_kwargs=True) for module in names]
    try:
        with undisturbed(model):
            example.copy().call(model)
    finally:
        for handle in handles:
            handle.remove()
    return flops


def _positions(module: nn.Module, x: Tensor, output: Tensor) -> int:
    """Return how often the whole weight is applied."""
    if isinstance(module, nn.Linear):
        return math.prod(x.shape[:-1])
    if isinstance(module, _TRANSPOSED):
        return x.numel() // module.in_channels
    assert isinstance(module, _CONV)
    return output.numel() // module.out_channels
