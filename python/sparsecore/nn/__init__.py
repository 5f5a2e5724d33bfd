"""Torch modules that run sparse, and the conversion of models to them."""

from sparsecore.nn.conv import CSRConv2d
from sparsecore.nn.modules import CSRLinear, Sparse24Linear
from sparsecore.nn.regrow import regrow_
from sparsecore.nn.report import LayerReport, Report, load_choices, save_choices
from sparsecore.nn.sparse_init import sparse_init_
from sparsecore.nn.sparsify import sparsify_

__all__ = [
    "CSRConv2d",
    "CSRLinear",
    "LayerReport",
    "Report",
    "Sparse24Linear",
    "load_choices",
    "regrow_",
    "save_choices",
    "sparse_init_",
    "sparsify_",
]
