"""Attention heads are ranked, and the lowest removed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from sparsecore.nn.layers import watched
from sparsecore.nn.uncuttable import check_model
from sparsecore.pruning._arrays import top_of_rows
from sparsecore.pruning.allocation import checked_sparsity
from sparsecore.pruning.model_masks import Score, Where
from sparsecore.pruning.scores import magnitude
from sparsecore.pruning.structured.head_attention import HeadAttention
from sparsecore.pruning.structured.head_scores import head_scores

__all__ = ["HeadReport", "prune_heads_"]

_CALLER = "prune_heads_"


@dataclass(frozen=True, slots=True, eq=False)
class HeadReport:
    """What became of the attention layers.

    Attributes
    ----------
    kept : mapping of str to tuple of int
        Of each layer, the heads that it kept, ascending, numbered as before.
    whole : mapping of str to str
        Layers that kept all heads although they were asked for, and why.
    masks : mapping of str to bool tensor
        Of each parameter that was set to zero in part, in its former shape: True = kept.
    """

    kept: Mapping[str, tuple[int, ...]]
    whole: Mapping[str, str]
    masks: Mapping[str, Tensor]


def prune_heads_(
    model: nn.Module,
    sparsity: float | None = None,
    *,
    kept: Mapping[str, int] | None = None,
    score: Score = magnitude,
    where: Where | None = None,
    remove: bool = True,
) -> HeadReport:
    """Remove the heads of least score from a model's ``nn.MultiheadAttention`` layers, in place.

    A head is its rows of the query, key and value projections and its columns of the output
    projection; its score is the sum over all of them. The layer is exchanged for a `HeadAttention`
    with the heads that are left, which gives what the layer gave with those weights at zero. No
    example is needed: nothing outside of the layer depends on a head. (The attention weights that
    it returns are the mean over the heads that are left.) A ``TransformerEncoder`` whose layers
    lost heads no longer makes nested tensors of padded batches: at padding it then gives what the
    layers give, where it gave zeros.

    Parameters
    ----------
    model : torch.nn.Module
        Contains the layers. Layers that are exchanged have new Parameters: make the optimizer
        afterwards.
    sparsity : float
        The share of its heads that each layer loses, in [0, 1); of n it keeps
        ``max(1, n - round(sparsity * n))``.
    kept : mapping of str to int
        In the place of `sparsity`: how many heads layers keep, by their names in
        ``model.named_modules()``.
    score : callable
        Of the weights ``in_proj_weight`` and ``out_proj.weight`` by name, as in `prune`; higher
        means keep. Ties keep the lower head.
    where : callable, optional
        ``where(name, weight)`` of ``in_proj_weight`` says which layers lose heads; all, if not
        given.
    remove : bool
        Whether heads are taken out; if not, their weights are set to zero only.

    Returns
    -------
    HeadReport

    Raises
    ------
    ValueError
        If not one of `sparsity` and `kept` is given, or it is out of range; if there is no such
        layer; if a layer that was named cannot lose heads; if a score is NaN; if the model has no
        values. The model has not changed then.
    TypeError
        If an argument is of another kind.

    References
    ----------
    Michel et al., "Are Sixteen Heads Really Better than One?", NeurIPS 2019 (heads can go; it ranks
    them by the gradient of a gate).

    Examples
    --------
    >>> import torch
    >>> model = torch.nn.TransformerEncoderLayer(16, 4, 32, batch_first=True).eval()
    >>> report = prune_heads_(model, 0.5)
    >>> model.self_attn.num_heads, len(report.kept["self_attn"])
    (2, 2)
    >>> model(torch.rand(2, 3, 16)).shape
    torch.Size([2, 3, 16])
    """
    check_model(_CALLER, model)
    counts, whole = _counts(model, sparsity, kept, where)
    layers = {n: m for n, m in _attentions(model).items() if n in counts}
    with torch.inference_mode(False), torch.no_grad():
        scores = head_scores(_CALLER, layers, score)
        chosen = {
            name: top_of_rows(of_heads[None], counts[name])[0].nonzero()[:, 0].tolist()
            for name, of_heads in scores.items()
        }
        smaller = {name: HeadAttention(layers[name], heads) for name, heads in chosen.items()}
        masks: dict[str, Tensor] = {}
        for name, heads in chosen.items():
            masks |= _masked(name, layers[name], heads, write=not remove)
        if remove:
            _exchange(model, {layers[name]: smaller[name] for name in smaller})
    return HeadReport({name: tuple(heads) for name, heads in chosen.items()}, whole, masks)


def _counts(
    model: nn.Module,
    sparsity: float | None,
    kept: Mapping[str, int] | None,
    where: Where | None,
) -> tuple[dict[str, int], dict[str, str]]:
    """Return how many heads each layer keeps, and why others stay whole."""
    if where is not None and not callable(where):
        msg = f"{_CALLER}: where is {type(where).__name__}, expected a function of (name, weight)"
        raise TypeError(msg)
    if (sparsity is None) == (kept is None) or (kept is not None and where is not None):
        msg = f"{_CALLER}: expected either sparsity, with or without where=, or kept"
        raise ValueError(msg)
    found = _attentions(model)
    owners = Counter(id(p) for m in model.modules() for p in m._parameters.values())
    if kept is not None:
        if not isinstance(kept, Mapping):
            msg = f"{_CALLER}: kept is {type(kept).__name__}, expected a mapping of name to heads"
            raise TypeError(msg)
        return {name: _checked(found, owners, name, count) for name, count in kept.items()}, {}
    assert sparsity is not None
    share = checked_sparsity(sparsity, caller=_CALLER)
    counts, whole = {}, {}
    for name, layer in found.items():
        if where is None or where(f"{name}.in_proj_weight", layer.in_proj_weight):
            why = _obstacle(layer, owners)
            if why is None:
                counts[name] = max(1, layer.num_heads - round(share * layer.num_heads))
            else:
                whole[name] = why
    if not counts and not whole:
        narrowed = "" if where is None else " that where= selects"
        msg = f"{_CALLER}: {type(model).__name__} has no nn.MultiheadAttention{narrowed}"
        raise ValueError(msg)
    return counts, whole


def _attentions(model: nn.Module) -> dict[str, nn.MultiheadAttention]:
    found = {n: m for n, m in model.named_modules() if isinstance(m, nn.MultiheadAttention)}
    if "" in found:
        msg = f"{_CALLER}: model is the attention layer itself, expected a module that contains it"
        raise ValueError(msg)
    return found


def _checked(
    found: Mapping[str, nn.MultiheadAttention], owners: Mapping[int, int], name: str, count: int
) -> int:
    if name not in found:
        msg = f"{_CALLER}: kept names {name!r}, expected layers among {', '.join(found)}"
        raise ValueError(msg)
    why = _obstacle(found[name], owners)
    if why is not None:
        msg = f"{_CALLER}: {name!r} cannot lose heads: {why}"
        raise ValueError(msg)
    heads = found[name].num_heads
    if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= heads:
        msg = f"{_CALLER}: kept[{name!r}] is {count!r}, expected an integer from 1 to {heads}"
        raise ValueError(msg)
    return count


def _obstacle(layer: nn.MultiheadAttention, owners: Mapping[int, int]) -> str | None:
    """Say why a layer cannot be exchanged; None where it can.

    `owners` has how many modules of the model have each parameter, by its id.
    """
    if any(owners[id(p)] > 1 for p in layer.parameters()):
        return "another module has its Parameter, too"
    if is_parametrized(layer) or is_parametrized(layer.out_proj):
        return "its parameters are parametrized"
    if type(layer) is not nn.MultiheadAttention:
        return f"it is a {type(layer).__name__}, not a plain nn.MultiheadAttention"
    if not layer._qkv_same_embed_dim:
        return "its keys or values have another width than its queries"
    if layer.bias_k is not None or layer.add_zero_attn:
        return "it attends to a bias or to zero, too"
    if watched(layer) or watched(layer.out_proj):
        return "it has hooks, which would be lost: remove them first"
    return None


def _masked(
    name: str, layer: nn.MultiheadAttention, heads: list[int], *, write: bool
) -> dict[str, Tensor]:
    """Return the masks of a layer's parameters; write the zeros where asked to."""
    kept = torch.zeros(layer.num_heads, dtype=torch.bool)
    kept[heads] = True
    columns = kept.repeat_interleave(layer.embed_dim // layer.num_heads)
    rows = columns.repeat(3)
    masks = {}
    for part, mask in (
        ("in_proj_weight", rows[:, None]),
        ("in_proj_bias", rows),
        ("out_proj.weight", columns),
    ):
        if part == "in_proj_bias" and layer.in_proj_bias is None:
            continue
        parameter = layer.get_parameter(part)
        mask = mask.to(parameter.device).expand(parameter.shape).contiguous()
        masks[f"{name}.{part}"] = mask
        if write:
            parameter.masked_fill_(~mask, 0)
    return masks


def _exchange(model: nn.Module, smaller: Mapping[nn.Module, nn.Module]) -> None:
    """Put modules in the place of others, wherever these are held.

    A ``TransformerEncoder`` has decided when it was made to hand its layers nested tensors where
    it can, for the kernel that torch has for layers with attention of its own. It no longer can.
    """
    for module in list(model.modules()):
        loses = not smaller.keys().isdisjoint(module.modules())
        if isinstance(module, nn.TransformerEncoder) and loses:
            module.use_nested_tensor = False
        for name, child in list(module._modules.items()):
            if child is not None and child in smaller:
                module._modules[name] = smaller[child]
