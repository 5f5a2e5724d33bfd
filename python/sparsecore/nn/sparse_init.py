"""Sparse layers to begin with: random structure, and initial values that fit it."""

from collections.abc import Callable, Mapping

import torch
from torch import nn

from sparsecore.nn.conv import CSRConv2d
from sparsecore.nn.layers import Dense, Site, find_layers, install, obstacle, uneven_padding
from sparsecore.nn.modules import CSRLinear
from sparsecore.nn.positions import compressed, random_outside
from sparsecore.pruning.allocation import erdos_renyi

__all__ = ["sparse_init_"]

_NOTHING = torch.empty(0, dtype=torch.int64)


def sparse_init_(
    model: nn.Module,
    sparsity: float,
    *,
    allocation: Callable[[Mapping[str, tuple[int, ...]], float], Mapping[str, int]] = erdos_renyi,
    where: Callable[[str, nn.Module], bool] | None = None,
    generator: torch.Generator | None = None,
) -> dict[str, int]:
    """Exchange the linear layers and convolutions of a model for random sparse ones, in place.

    For training from scratch: the weights are not looked at. A layer made with ``device="meta"``
    never has a dense weight; its bias, where it has one, becomes zeros. Other biases stay, the
    same Parameters. Make the optimizer afterwards.

    Entries are drawn from a normal distribution with variance ``2 / n``, where n is how many
    entries their row has: He's initialisation, of what a unit really sums up.

    Parameters
    ----------
    model : torch.nn.Module
        Each nn.Linear and nn.Conv2d of it takes part, but for a model that is such a layer itself.
    sparsity : float
        Of all layers together, in [0, 1).
    allocation : callable
        ``({name: shape}, sparsity) -> {name: count}``, as `sparsecore.pruning.allocation`'s
        ``erdos_renyi`` (ERK) and ``uniform``.
    where : callable, optional
        ``(name, layer) -> bool`` narrows the selection: first and last layers are often kept dense.
    generator : torch.Generator, optional
        Draws places and values; torch's default one if not given.

    Returns
    -------
    dict of str to int
        How many entries each layer has.

    Raises
    ------
    ValueError
        `sparsity` outside [0, 1), no layer, or one that cannot be exchanged (hooks,
        parametrizations, a weight that two layers share, padding other than even zeros).

    References
    ----------
    He et al., "Delving Deep into Rectifiers", ICCV 2015; Evci et al., "Gradient Flow in Sparse
    Neural Networks and How Lottery Tickets Win", AAAI 2022, section 3.1 (a unit's own fan-in).

    Examples
    --------
    >>> model = nn.Sequential(nn.Linear(1000, 300, device="meta"), nn.ReLU(), nn.Linear(300, 10))
    >>> sparse_init_(model, 0.9)
    {'0': 27300, '2': 3000}
    >>> model(torch.randn(2, 1000)).shape
    torch.Size([2, 10])
    """
    sites = [s for s in find_layers(model) if s.name and (where is None or where(s.name, s.dense))]
    if not sites:
        narrowed = "" if where is None else " that where= selects"
        msg = f"sparse_init_: {type(model).__name__} holds no Linear or Conv2d{narrowed}"
        raise ValueError(msg)
    _check(sites)
    counts = dict(allocation({s.name: tuple(s.dense.weight.shape) for s in sites}, sparsity))
    made = [random_layer(site.dense, counts[site.name], generator=generator) for site in sites]
    for site, layer in zip(sites, made, strict=True):
        install(site, layer)
    return counts


def _check(sites: list[Site]) -> None:
    seen: dict[int, str] = {}
    for site in sites:
        reason = obstacle(site.dense)
        if reason is None and isinstance(site.dense, nn.Conv2d):
            reason = uneven_padding(site.dense)
        other = seen.setdefault(id(site.dense._parameters.get("weight")), site.name)
        if reason is None and other != site.name:
            reason = f"its weight is also that of {other!r}"
        if reason is not None:
            msg = f"sparse_init_: layer {site.name!r}: {reason}"
            raise ValueError(msg)


def random_layer(
    dense: Dense, count: int, *, generator: torch.Generator | None = None
) -> CSRLinear | CSRConv2d:
    """Return a sparse layer of the sizes of a dense one, with `count` random entries."""
    layer: CSRLinear | CSRConv2d
    if isinstance(dense, nn.Linear):
        layer = CSRLinear(dense.in_features, dense.out_features, bias=False)
    else:
        layer = CSRConv2d._sized_as(dense)
    rows, columns = layer._weight_shape()
    flat = random_outside(_NOTHING, rows * columns, count, generator=generator)
    layer.indices, layer.indptr = compressed(flat, rows, columns)
    counts = layer.indptr.long().diff()
    scale = (2 / counts.clamp(min=1)).sqrt().repeat_interleave(counts)
    values = (torch.randn(count, generator=generator) * scale).to(dense.weight.dtype)
    layer.values = nn.Parameter(values, requires_grad=dense.weight.requires_grad)
    bias = dense._parameters["bias"]
    if bias is not None and bias.is_meta:
        bias = nn.Parameter(torch.zeros(bias.shape, dtype=bias.dtype), bias.requires_grad)
    layer.bias = bias
    layer.activation = getattr(dense, "activation", None)
    return layer.train(dense.training)
