"""A copy of a torch model that every exporter understands: dense layers, masks made permanent."""

import copy
from typing import Any

from torch import Tensor, nn
from torch.nn.utils import parametrize, prune

from sparsecore.nn.fused import FusedConv2d, FusedLinear
from sparsecore.nn.sparse_layer import SparseLayer

__all__ = ["dense_copy"]


def dense_copy(model: nn.Module) -> nn.Module:
    """Return a copy in evaluation mode whose weights are plain tensors with exact zeros.

    Sparse layers become dense ones, with what was fused to them; masks of ``torch.nn.utils.prune``
    and parametrizations are carried out and removed. The model stays as it is.

    Examples
    --------
    >>> import torch
    >>> from torch.nn.utils import prune
    >>> layer = prune.l1_unstructured(torch.nn.Linear(8, 2), "weight", amount=12)
    >>> plain = dense_copy(layer)
    >>> type(plain.weight).__name__, int(torch.count_nonzero(plain.weight))
    ('Parameter', 4)
    """
    plain = copy.deepcopy(model, _copies_of_computed(model)).eval()
    for module in list(plain.modules()):
        _make_permanent(module)
    dense: dict[SparseLayer[Any], nn.Module] = {
        m: _dense_layer(m) for m in plain.modules() if isinstance(m, SparseLayer)
    }
    if isinstance(plain, SparseLayer):
        return dense[plain].eval()
    for parent in list(plain.modules()):
        for key, child in parent._modules.items():
            if isinstance(child, SparseLayer):
                parent.register_module(key, dense[child].eval())
    return plain


def _copies_of_computed(model: nn.Module) -> dict[int, Any]:
    """Return copies of tensors that autograd computed, which deepcopy refuses, by their ids."""
    tensors = [v for m in model.modules() for v in vars(m).values() if isinstance(v, Tensor)]
    return {id(t): t.detach().clone() for t in tensors if not t.is_leaf}


def _make_permanent(module: nn.Module) -> None:
    masks = [
        h for h in module._forward_pre_hooks.values() if isinstance(h, prune.BasePruningMethod)
    ]
    for mask in masks:
        prune.remove(module, mask._tensor_name)  # type: ignore[no-untyped-call]
    if parametrize.is_parametrized(module):
        assert isinstance(module.parametrizations, nn.ModuleDict)
        for name in list(module.parametrizations):
            parametrize.remove_parametrizations(module, name)


def _dense_layer(layer: SparseLayer[Any]) -> nn.Module:
    """Return a dense layer that ends as the sparse one does, with a residual and an activation."""
    dense = layer.to_dense()
    if isinstance(dense, nn.Conv2d):
        return FusedConv2d.of(dense, dense.weight, dense.bias, layer.activation)
    assert isinstance(dense, nn.Linear)
    return FusedLinear.of(dense, dense.weight, dense.bias, layer.activation)
