"""Torch modules that run sparse, and the conversion of models to them."""

from sparsecore.nn.checkpoint import save_checkpoint
from sparsecore.nn.checkpoint_load import load_checkpoint_
from sparsecore.nn.conv import CSRConv2d
from sparsecore.nn.latency import measure_layers
from sparsecore.nn.latency_table import LatencyTable, LayerTimes
from sparsecore.nn.modules import CSRLinear, Sparse24Linear
from sparsecore.nn.regrow import regrow_
from sparsecore.nn.report import LayerReport, Report, load_choices, save_choices
from sparsecore.nn.shrink import shrink_
from sparsecore.nn.shrink_report import DeadUnits, LayerSizes, ShrinkReport
from sparsecore.nn.sparse24_conv import Sparse24Conv2d
from sparsecore.nn.sparse_init import sparse_init_
from sparsecore.nn.sparsify import sparsify_

__all__ = [
    "CSRConv2d",
    "CSRLinear",
    "DeadUnits",
    "LatencyTable",
    "LayerReport",
    "LayerSizes",
    "LayerTimes",
    "Report",
    "ShrinkReport",
    "Sparse24Conv2d",
    "Sparse24Linear",
    "load_checkpoint_",
    "load_choices",
    "measure_layers",
    "regrow_",
    "save_checkpoint",
    "save_choices",
    "shrink_",
    "sparse_init_",
    "sparsify_",
]
