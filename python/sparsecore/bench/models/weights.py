"""What a network is filled with: trained weights where there are some, seeded ones elsewhere."""

import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

__all__ = ["calibrate_", "data_folder", "seeded", "trained"]


def data_folder() -> Path:
    """Return the folder that SPARSECORE_DATA names, by default the one beside the source tree."""
    return Path(os.environ.get("SPARSECORE_DATA", "../shared/data"))


def seeded(build: Callable[[], nn.Module], generator: torch.Generator) -> nn.Module:
    """Build a network in evaluation mode, its weights random as He et al. (ICCV 2015) draw them."""
    # On the meta device first: modules draw their own weights from torch's global generator.
    with torch.device("meta"):
        model = build()
    model.to_empty(device="cpu")
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            spread = math.sqrt(2 / module.weight[0].numel())
            nn.init.normal_(module.weight, std=spread, generator=generator)
            if module.bias is not None:
                nn.init.normal_(module.bias, std=0.1, generator=generator)
        elif isinstance(module, nn.BatchNorm2d | nn.LayerNorm):
            module.reset_parameters()
        else:  # other kinds: recurrent, transposed, embeddings
            for parameter in module.parameters(recurse=False):
                spread = 0.1 if parameter.ndim < 2 else parameter[0].numel() ** -0.5
                nn.init.normal_(parameter, std=spread, generator=generator)
    return model.eval().requires_grad_(False)


def trained(build: Callable[[], nn.Module], file: Path) -> nn.Module:
    """Build a network in evaluation mode with the arrays of an ``.npz``, named as its parameters.

    Raises
    ------
    FileNotFoundError
        If the file is not there.
    RuntimeError
        If names or shapes are others.
    """
    model = build()
    with np.load(file) as arrays:
        state = {name: torch.from_numpy(arrays[name]) for name in arrays.files}
    # How many batches were seen matters to training alone, and is not in the files.
    counts = {name: t for name, t in model.state_dict().items() if t.dtype == torch.int64}
    model.load_state_dict(counts | state)
    return model.eval().requires_grad_(False)


def calibrate_(model: nn.Module, inputs: Sequence[Tensor]) -> None:
    """Give BatchNorm the statistics of these inputs, in place.

    With random weights, and after pruning, the old ones would let activations die or grow from
    layer to layer, and an output that is the same for every input would prove nothing.
    """
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean, here of the one pass
        norm.train()
    with torch.no_grad():
        model(*inputs)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()
