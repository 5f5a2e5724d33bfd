"""Random re-initialisation: the control that keeps masks and forgets weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from sparsecore.pruning.masks_in_force import check_masks
from sparsecore.pruning.model_checks import check_model

__all__ = ["reinitialize"]

# What the hooks of torch.nn.utils leave as plain attributes.
_WEIGHTS = ("weight", "weight_hh_l0", "weight_ih_l0")


def reinitialize(
    model: nn.Module,
    *,
    generator: torch.Generator | None = None,
    init: Callable[[nn.Module], Any] | None = None,
    masks: Mapping[str, Tensor] | None = None,
) -> None:
    """Initialise a model anew, in place, as its modules do when they are made.

    With `masks` it is the control of the lottery ticket: the same sparse network, other weights.

    Parameters
    ----------
    model : torch.nn.Module
        Each module's own ``reset_parameters`` is called, BatchNorm's running statistics included,
        modules before those that contain them.
    generator : torch.Generator, optional
        One number drawn from it seeds the initialisation; it is advanced. Without it one is made,
        with seed 0. torch's global random state is afterwards as before.
    init : callable, optional
        ``init(module)``, called for each module in the place of ``reset_parameters``.
    masks : mapping of str to tensor of bool, optional
        By parameter name, as ``prune`` returns them: what is False is zero afterwards.

    Raises
    ------
    ValueError
        A module has parameters of its own but no ``reset_parameters``, or one that knows nothing
        of those that its weight is computed from (``torch.nn.utils``'s weight_norm, spectral_norm
        and prune), and there is no `init`; or masks of other names or shapes than the parameters.
        The model is then unchanged.
    TypeError
        An argument that is not of its kind, or a mask that is not bool.

    References
    ----------
    Frankle and Carbin, "The Lottery Ticket Hypothesis", ICLR 2019, section 2 (random
    reinitialization); Liu et al., "Rethinking the Value of Network Pruning", ICLR 2019.

    Examples
    --------
    >>> model = torch.nn.Linear(10, 4)
    >>> masks = {"weight": torch.rand(4, 10) < 0.5}
    >>> reinitialize(model, generator=torch.Generator().manual_seed(1), masks=masks)
    >>> torch.equal(model.weight != 0, masks["weight"])
    True
    """
    check_model("reinitialize", model)
    if generator is not None and not isinstance(generator, torch.Generator):
        msg = f"reinitialize: generator is {type(generator).__name__}, expected a torch.Generator"
        raise TypeError(msg)
    if init is not None and not callable(init):
        msg = f"reinitialize: init is {init!r}, expected a function of a module"
        raise TypeError(msg)
    parameters = dict(model.named_parameters(remove_duplicate=False))
    check_masks("reinitialize", masks or {}, parameters)
    if init is None:
        _check_resets(model)
    generator = generator or torch.Generator().manual_seed(0)
    seed = int(torch.randint(2**62, (), generator=generator, device=generator.device))
    devices = sorted({p.device.index for p in parameters.values() if p.is_cuda})
    with torch.random.fork_rng(devices), torch.no_grad():
        torch.default_generator.manual_seed(seed)
        for device in devices:
            torch.cuda.default_generators[device].manual_seed(seed)
        model.apply(_reset if init is None else init)
        for name, mask in (masks or {}).items():
            parameters[name].masked_fill_(~mask.to(parameters[name].device), 0)


def _reset(module: nn.Module) -> None:
    reset = _reset_of(module)
    if reset is not None:
        reset()


def _reset_of(module: nn.Module) -> Callable[[], Any] | None:
    # nn.MultiheadAttention and nn.Transformer have it private.
    for name in ("reset_parameters", "_reset_parameters"):
        reset: Any = getattr(module, name, None)
        if callable(reset):
            return reset  # type: ignore[no-any-return]
    return None


def _check_resets(model: nn.Module) -> None:
    for name, module in model.named_modules():
        own = [n for n, p in module._parameters.items() if p is not None]
        if own and _reset_of(module) is None:
            msg = (
                f"reinitialize: {name or 'the model'}, a {type(module).__name__}, has parameters "
                f"({', '.join(own)}) but no reset_parameters(); expected init= to set them"
            )
            raise ValueError(msg)
        computed = [n for n in _WEIGHTS if n not in own and torch.is_tensor(vars(module).get(n))]
        if computed:
            msg = (
                f"reinitialize: {name or 'the model'}, a {type(module).__name__}, computes its "
                f"{computed[0]} from ({', '.join(own)}), of which reset_parameters() knows "
                "nothing; expected init= to set them, or the computation removed"
            )
            raise ValueError(msg)
