"""sparsecore: makes pruned neural networks really smaller and faster, and says where it cannot.

Formats (`COO`, `CSR`, `Sparse24`), operations on them (`csr_matmul`, `sparse24_matmul`, `linear`,
`conv2d`, `csr_sddmm`, `prune_24`), what sparsity costs (`analysis`), pruning (`pruning`), torch
modules (`nn`), files for other runtimes (`export`) and matrices on several ranks (`distributed`).
numpy in, numpy out; torch in, torch out; torch is imported only by those who use it.
"""

from typing import TYPE_CHECKING, Any

from sparsecore import analysis, cpu, cuda, interop
from sparsecore._core import __version__
from sparsecore.checkpoint import Checkpoint, CheckpointSize, load_checkpoint
from sparsecore.checkpoint_save import save_checkpoint
from sparsecore.compressed_tensors import load_compressed_tensors, save_compressed_tensors
from sparsecore.conv import ConvPlan, conv2d
from sparsecore.formats import COO, CSR, Sparse24, Storage
from sparsecore.io import load, save
from sparsecore.ops import (
    csr_matmul,
    csr_sddmm,
    get_num_threads,
    linear,
    prune_24,
    set_num_threads,
    sparse24_matmul,
)
from sparsecore.plan import Plan

if TYPE_CHECKING:
    from sparsecore import distributed, export, html_report, nn, pruning
    from sparsecore.diagnosis import doctor

__all__ = [
    "COO",
    "CSR",
    "Checkpoint",
    "CheckpointSize",
    "ConvPlan",
    "Plan",
    "Sparse24",
    "Storage",
    "__version__",
    "analysis",
    "conv2d",
    "cpu",
    "csr_matmul",
    "csr_sddmm",
    "cuda",
    "distributed",
    "doctor",
    "export",
    "get_num_threads",
    "html_report",
    "linear",
    "load",
    "load_checkpoint",
    "load_compressed_tensors",
    "nn",
    "prune_24",
    "pruning",
    "save",
    "save_checkpoint",
    "save_compressed_tensors",
    "set_num_threads",
    "sparse24_matmul",
]


def __getattr__(name: str) -> Any:
    # Subpackages that bring torch, or that most numerical users never touch, load when named.
    if name in ("distributed", "export", "html_report", "nn", "pruning"):
        import importlib

        return importlib.import_module(f"sparsecore.{name}")
    if name == "doctor":
        from sparsecore.diagnosis import doctor as function

        return function
    msg = f"module 'sparsecore' has no attribute {name!r}"
    raise AttributeError(msg)


# Where torch is there already, a program exported with our operators may be loaded next.
interop.meet_torch()


def __dir__() -> list[str]:
    return sorted({*__all__, *globals()} - {"Any", "TYPE_CHECKING"})
