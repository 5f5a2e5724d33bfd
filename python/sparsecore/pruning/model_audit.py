"""Audit of a pruned model: exact counts, dead units, what no path goes through, collapse."""

from __future__ import annotations

import numbers
from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor, nn

from sparsecore.pruning.audit_report import AuditReport, LayerAudit
from sparsecore.pruning.masks_in_force import check_masks
from sparsecore.pruning.model_masks import selected_weights
from sparsecore.pruning.path_flow import on_a_path
from sparsecore.pruning.patterns import ANY_POSITION

__all__ = ["audit"]


def audit(
    model: nn.Module,
    example_inputs: Any = None,
    *,
    masks: Mapping[str, Tensor] | None = None,
    least_density: float = 0.01,
) -> AuditReport:
    """Say what is left of a pruned model, and whether it still is one network.

    Parameters
    ----------
    model : torch.nn.Module
        Its Linear and Conv weights are examined, dense tensors with zeros; nothing changes.
    example_inputs : tensor, tuple or dict, optional
        The arguments of its forward, a batch of 1 is enough. With them the paths from input to
        output are followed: a kept weight may be useless because nothing reaches it, or because
        nothing that it feeds reaches an output.
    masks : mapping of str to tensor of bool, optional
        By parameter name, True = kept; weights without one are kept where they are not zero.
    least_density : float
        Layers below it are warned of.

    Returns
    -------
    AuditReport

    Raises
    ------
    ValueError
        No Linear or Conv weight, masks of other names or shapes, a `least_density` outside [0, 1];
        with `example_inputs` a model in which paths cannot be followed.
    TypeError
        A `model` that is no module, a mask that is not bool, or `example_inputs` that are no
        arguments.

    Notes
    -----
    A path is followed as SynFlow's flow: biases and the centring of normalisations carry none,
    activations and attention's weights let pass what reaches them, parameters other than the
    audited ones do where they are not zero.

    References
    ----------
    Tanaka et al., "Pruning neural networks without any data by iteratively conserving synaptic
    flow", NeurIPS 2020 (layer collapse); Vysogorets and Kempe, "Connectivity Matters: Neural
    Network Pruning Through the Lens of Effective Sparsity", JMLR 2023.

    Examples
    --------
    >>> import torch
    >>> model = nn.Sequential(nn.Linear(3, 2, bias=False), nn.ReLU(), nn.Linear(2, 2, bias=False))
    >>> with torch.no_grad():
    ...     _ = model[0].weight.copy_(torch.tensor([[1.0, 0, 2], [0, 0, 0]]))
    ...     _ = model[2].weight.copy_(torch.tensor([[5.0, 6], [0, 7]]))
    >>> audit(model, torch.zeros(1, 3))  # row 1 of the first layer is dead: 6 and 7 are useless
    weight    shape  kept  density  dead out  dead in  on a path  cut out  cut in
    -----------------------------------------------------------------------------
    0.weight  2 x 3     2   0.3333         1        1          2        1       1
    2.weight  2 x 2     3   0.7500         0        0          1        1       1
    <BLANKLINE>
    kept: 5 of 10 weights, sparsity 0.5000
    on a path: 3, effective sparsity 0.7000
    """
    if not isinstance(least_density, numbers.Real) or not 0 <= least_density <= 1:
        msg = f"audit: least_density is {least_density}, expected a fraction in [0, 1]"
        raise ValueError(msg)
    weights = selected_weights("audit", model, ANY_POSITION, None)
    check_masks("audit", masks or {}, weights)
    kept = {name: weight.detach() != 0 for name, weight in weights.items()}
    kept |= {name: mask.to(weights[name].device) for name, mask in (masks or {}).items()}
    paths = None if example_inputs is None else on_a_path(model, example_inputs, kept)
    layers = tuple(_layer(model, name, kept[name], paths) for name in weights)
    warnings = [*_collapse(layers, least_density), *_broken(model, masks or {}, weights)]
    return AuditReport(layers, tuple(warnings))


def _layer(
    model: nn.Module, name: str, kept: Tensor, paths: Mapping[str, Tensor] | None
) -> LayerAudit:
    module = model.get_submodule(name.rpartition(".")[0])
    dead = _units_without(module, kept)
    shape, count = tuple(kept.shape), int(kept.sum())
    if paths is None:
        return LayerAudit(name, shape, count, *dead, None)
    path = paths[name]
    return LayerAudit(name, shape, count, *dead, int(path.sum()), *_units_without(module, path))


def _units_without(module: nn.Module, mask: Tensor) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the outputs and the inputs of a layer that have no True in the mask."""
    groups = int(getattr(module, "groups", 1))
    # (groups, first axis / groups, second axis, kernel)
    parts = mask.reshape(groups, mask.shape[0] // groups, *mask.shape[1:])
    pairs = parts.flatten(3).any(3) if parts.ndim > 3 else parts
    first, second = pairs.any(2).reshape(-1), pairs.any(1).reshape(-1)
    outputs, inputs = (second, first) if getattr(module, "transposed", False) else (first, second)
    return _where_not(outputs), _where_not(inputs)


def _where_not(mask: Tensor) -> tuple[int, ...]:
    return tuple((~mask).nonzero().reshape(-1).tolist())


def _collapse(layers: tuple[LayerAudit, ...], least_density: float) -> Iterator[str]:
    for layer in layers:
        if not layer.size:
            continue
        if layer.kept == 0:
            yield f"{layer.name}: layer collapse, no weight is kept"
        elif layer.connected == 0:
            yield (
                f"{layer.name}: disconnected, none of its {layer.kept} weights is on a path from "
                "input to output"
            )
        elif layer.density < least_density:
            yield (
                f"{layer.name}: keeps {layer.kept} of {layer.size} weights, "
                f"{layer.density:.2%}, below {least_density:.2%}"
            )


def _broken(
    model: nn.Module, masks: Mapping[str, Tensor], weights: Mapping[str, Tensor]
) -> Iterator[str]:
    for name, parameter in model.named_parameters():
        bad = {
            "NaN": int(parameter.detach().isnan().sum()),
            "infinite": int(parameter.detach().isinf().sum()),
        }
        yield from (f"{name}: {n} of {parameter.numel()} are {k}" for k, n in bad.items() if n)
    for name, mask in masks.items():
        stray = int((weights[name].detach()[~mask.to(weights[name].device)] != 0).sum())
        if stray:
            yield f"{name}: {stray} weights outside of the mask are not zero: it is not in force"
