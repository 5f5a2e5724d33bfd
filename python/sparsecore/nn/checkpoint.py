"""Saving a model: its state, and what makes a fresh model of its class take it again."""

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import torch
from torch import Tensor, nn

from sparsecore import interop
from sparsecore.checkpoint import CheckpointSize, PathLike
from sparsecore.checkpoint_save import write_checkpoint
from sparsecore.files.checkpoint_header import ACTIVATIONS, Fused, Header, Layer, join
from sparsecore.interop import Array
from sparsecore.nn.csr_layer import CSRLayer
from sparsecore.nn.fused import FusedConv2d, FusedLinear
from sparsecore.nn.fused_forward import FusedForward
from sparsecore.nn.sparse_conv import SparseConv2d
from sparsecore.nn.sparse_layer import SparseLayer
from sparsecore.nn.stored_values import dtype_name

__all__ = ["describe", "fused_in", "save_checkpoint"]

_FLOAT8 = {
    torch.float8_e4m3fn: np.dtype(ml_dtypes.float8_e4m3fn),
    torch.float8_e5m2: np.dtype(ml_dtypes.float8_e5m2),
}


def save_checkpoint(
    path: PathLike, model: nn.Module, *, shard_bytes: int | None = None
) -> CheckpointSize:
    """Write a model, sparse layers as they are, to safetensors.

    The tensors have the names of ``model.state_dict()``, so that ``load_state_dict`` takes them
    where the model already is sparse; the header says what each layer is, which
    :func:`load_checkpoint_` makes of a fresh model of the original class, and
    :func:`sparsecore.load_checkpoint` reads without the class and without torch.

    Parameters
    ----------
    path : path
        Ends in ``.safetensors``. Each file appears only when it is complete.
    model : torch.nn.Module
        Converted by `sparsify_` or not, prepared or not. Its state holds tensors only; tied ones
        are stored once.
    shard_bytes : int, optional
        Write several files of at most so many bytes of tensors, and an index, as Hugging Face does.
        A sparse layer's tensors stay in one file, which can then be larger.

    Returns
    -------
    CheckpointSize
        Bytes on disk, by part, beside those of the dense model.

    Raises
    ------
    TypeError
        Where the state holds something else than strided tensors of a dtype that files have.
    ValueError
        Where `path` ends in something else.
    OSError
        Where a file cannot be written.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import torch
    >>> import sparsecore as sc
    >>> net = torch.nn
    >>> model = net.Sequential(net.Linear(64, 256), net.ReLU(), net.Linear(256, 10))
    >>> _ = sc.pruning.prune(model, 0.9)
    >>> x = torch.rand(8, 64)
    >>> _ = sc.nn.sparsify_(model, x, policy="always", trainable=False)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "model.safetensors")
    ...     size = sc.nn.save_checkpoint(path, model)
    ...     fresh = net.Sequential(net.Linear(64, 256), net.ReLU(), net.Linear(256, 10))
    ...     sc.nn.load_checkpoint_(path, fresh)
    >>> size.ratio < 0.3, torch.equal(fresh(x), model(x))
    (True, True)
    """
    header, aliases = describe(model)
    arrays: dict[str, Array] = {}
    stored: dict[tuple[Any, ...], str] = {}
    tied = dict(header.tied)
    for name, tensor in model.state_dict().items():
        if name in aliases:
            continue
        array = _as_array(name, tensor)
        place = (tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype)
        first = stored.setdefault(place, name) if tensor.numel() else name
        if first == name:
            arrays[name] = array
        else:
            tied[name] = first
    complete = Header(header.layers, tied, header.dense, header.fused)
    return write_checkpoint(Path(path), arrays, complete, shard_bytes)


def describe(model: nn.Module) -> tuple[Header, set[str]]:
    """Return what a header says of a model, and the tensors of sparse layers' second names."""
    layers: dict[str, Layer] = {}
    first: dict[nn.Module, str] = {}
    tied: dict[str, str] = {}
    aliases: set[str] = set()
    dense: list[str] = []
    for name, module in model.named_modules(remove_duplicate=False):
        known = first.setdefault(module, name)
        if isinstance(module, nn.Linear | nn.Conv2d) and known == name:
            dense.append(name)
        if not isinstance(module, SparseLayer):
            continue
        if known == name:
            layers[name] = _layer(name, module)
        else:
            tied[join(name, "weight")] = join(known, "weight")
            aliases |= set(layers[known].tensors(name))
    return Header(layers, tied, tuple(dense), fused_in(model)), aliases


def fused_in(model: nn.Module) -> Fused:
    """Return what was fused in a model, as it stands."""
    modules: dict[str, bool] = {}
    layers: dict[str, str | None] = {}
    for name, module in model.named_modules():
        forward = vars(module).get("forward")
        if isinstance(forward, FusedForward):
            modules[name] = forward.channels_last
        if isinstance(module, FusedConv2d | FusedLinear) or (
            isinstance(module, SparseLayer) and module.fused
        ):
            layers[name] = module.activation
    return Fused(modules, layers)


def _layer(name: str, module: SparseLayer[Any]) -> Layer:
    if module.activation not in (None, *ACTIVATIONS):
        msg = f"save_checkpoint: layer {name!r} has the activation {module.activation!r}"
        raise ValueError(msg)
    rows, columns = module._weight_shape()
    shape: tuple[int, ...] = (rows, columns)
    geometry = None
    if isinstance(module, SparseConv2d):
        geometry = module.geometry
        shape = (rows, module.in_channels // geometry.groups, *geometry.kernel_size)
    prepared = isinstance(module, CSRLayer) and module._plan is not None
    dtype = module._dtype
    return Layer(
        module._format,
        shape,
        geometry,
        module.activation,
        module.fused,
        prepared,
        module._prepared_for if prepared and isinstance(module, CSRLayer) else None,
        None if dtype is None else dtype_name(dtype),
        module._scale is not None,
    )


def _as_array(name: str, tensor: object) -> Array:
    """Return a tensor of a state as numpy sees it."""
    if not isinstance(tensor, Tensor):
        kind = type(tensor).__name__
        msg = f"save_checkpoint: the state has a {kind} under {name!r}, expected a tensor"
        raise TypeError(msg)
    if tensor.is_meta:
        msg = f"save_checkpoint: {name!r} is on the meta device, which holds no numbers"
        raise TypeError(msg)
    tensor = tensor.detach()
    if tensor.dtype in _FLOAT8:
        bits = interop.to_host(tensor.contiguous().view(torch.uint8))
        return bits.view(_FLOAT8[tensor.dtype])
    if interop.on_device(tensor):
        return interop.to_host(tensor)
    return interop.to_numpy(tensor, name=f"save_checkpoint: {name!r}")
