"""Loading a sparse checkpoint into a fresh model of the original, dense class."""

from collections.abc import Mapping
from contextlib import ExitStack

import torch
from torch import Tensor, nn

from sparsecore import interop
from sparsecore.checkpoint import Checkpoint, PathLike, load_checkpoint
from sparsecore.files.checkpoint_header import Fused, join
from sparsecore.interop import Array
from sparsecore.nn.checkpoint import fused_in
from sparsecore.nn.checkpoint_layers import Exchange, exchanges, fill
from sparsecore.nn.csr_layer import CSRLayer
from sparsecore.nn.example import undisturbed
from sparsecore.nn.fuse import fuse
from sparsecore.nn.fused_forward import FusedForward

__all__ = ["load_checkpoint_"]


def load_checkpoint_(path: PathLike, model: nn.Module) -> None:
    """Make a model what was saved, in place: its layers sparse, fused and prepared, and its state.

    Parameters
    ----------
    path : path
        As `sparsecore.load_checkpoint` takes it. An ordinary dense checkpoint is loaded, too.
    model : torch.nn.Module
        A fresh instance of the class that was converted; its numbers do not matter. It is filled
        where it lies: on a CUDA device as on the CPU, if what the file has runs there.
        Where ``sparsify_(trainable=False)`` had fused the saved model, the fresh one is traced and
        fused as that was. Layers that already are sparse, as the file has them, are filled.
        Sparse weights are new Parameters: an optimizer is made afterwards.

    Raises
    ------
    ValueError
        Where the file is not whole or valid (as `sparsecore.load_checkpoint`), or the model has
        another structure: a layer is missing, of another kind or shape, has hooks or
        parametrizations, is fused differently, or lies where it has no kernel; or the state has
        other names, shapes or dtypes.
        Names the file, the place, and both sides. A dense model is then as it was; only one that
        already was sparse may have been filled in part.
    OSError
        Where a file cannot be read.

    See Also
    --------
    save_checkpoint : has a runnable example.
    """
    checkpoint = load_checkpoint(path)
    with torch.inference_mode(False), torch.no_grad(), ExitStack() as undo:
        try:
            _load(checkpoint, model, undo)
        except (ValueError, TypeError, IndexError, RuntimeError) as fault:
            place = str(checkpoint.files.path)
            msg = str(fault) if str(fault).startswith(place) else f"{place}: {fault}"
            raise ValueError(msg) from fault
        undo.pop_all()


def _load(checkpoint: Checkpoint, model: nn.Module, undo: ExitStack) -> None:
    _check_place(model)
    header = checkpoint.header
    found = exchanges(model, header.layers)
    for exchange in found:
        fill(exchange, checkpoint)
    # What was sparse before the model was fused is not fused; the rest was dense at that time.
    _install([exchange for exchange in found if not exchange.layer.fused], undo)
    _fuse(model, header.fused, undo)
    _install([exchange for exchange in found if exchange.layer.fused], undo)
    state = _dense_state(checkpoint)
    _check_state(model, checkpoint, state)
    model.load_state_dict(state, strict=False)
    for exchange in found:
        if exchange.layer.prepared and isinstance(exchange.sparse, CSRLayer):
            exchange.sparse.prepare_(exchange.layer.rows)
    for module in model.modules():
        if isinstance(forward := vars(module).get("forward"), FusedForward):
            forward.chain(True)


def _check_place(model: nn.Module) -> None:
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if tensor.device.type != "cpu" and not interop.on_device(tensor):
            msg = (
                f"the model's {name!r} is on {tensor.device}, expected the CPU or a CUDA device: "
                "build the model there, or call model.to_empty(device='cpu') first"
            )
            raise ValueError(msg)


def _install(found: list[Exchange], undo: ExitStack) -> None:
    """Put the sparse layers in, with what the layers in their places are now."""
    for exchange in found:
        for parent, key in exchange.slots:
            old = parent._modules[key]
            undo.callback(parent.register_module, key, old)
            exchange.take(old)
            parent.register_module(key, exchange.sparse)


def _fuse(model: nn.Module, saved: Fused, undo: ExitStack) -> None:
    """Fuse the model as the saved one was; nothing happens where it already is."""
    now = fused_in(model)
    if now == saved:
        return
    if now.modules:
        msg = "the model is fused otherwise than the saved one: load into a fresh instance"
        raise ValueError(msg)
    with undisturbed(model):
        fusion = fuse(model)
    undo.callback(fusion.put, fused=False)
    fusion.put(fused=True)
    modules = dict(model.named_modules())
    for name, channels_last in saved.modules.items():
        forward = vars(modules[name]).get("forward") if name in modules else None
        if isinstance(forward, FusedForward):
            forward.channels_last = channels_last
    now = fused_in(model)
    if now != saved:
        raise ValueError(_difference(now, saved))


def _difference(now: Fused, saved: Fused) -> str:
    names = [
        name
        for one, other in ((now.modules, saved.modules), (now.layers, saved.layers))
        for name in sorted(one.keys() | other.keys())
        if (name in one, one.get(name)) != (name in other, other.get(name))
    ]
    return (
        f"the model cannot be fused as the saved one was: {names[0]!r} differs. Its forward is "
        "another one; load into the class that was saved, without hooks, or convert that again "
        "and save it"
    )


# ---- the rest of the state ----


def _dense_state(checkpoint: Checkpoint) -> dict[str, Tensor]:
    """Return all tensors but those of sparse weights, tied ones as one tensor."""
    layers = checkpoint.header.layers
    weights = {join(name, "weight") for name in layers}
    tied = checkpoint.header.tied
    state = {
        n: as_tensor(checkpoint.files.read(n)) for n in checkpoint if n not in {*weights, *tied}
    }
    return state | {name: state[other] for name, other in tied.items() if other not in weights}


def as_tensor(array: Array) -> Tensor:
    """Return an array as a tensor, float8 included."""
    if array.dtype.name.startswith("float8"):
        bits: Tensor = interop.as_tensor(array.view("uint8"))
        return bits.view(getattr(torch, array.dtype.name))
    tensor: Tensor = interop.as_tensor(array)
    return tensor


def _check_state(model: nn.Module, checkpoint: Checkpoint, state: Mapping[str, Tensor]) -> None:
    """Raise ValueError where the model's state is not the file's, before anything is copied."""
    layers, tied = checkpoint.header.layers, checkpoint.header.tied
    sparse = {t for name, layer in layers.items() for t in layer.tensors(name)}
    for name, other in tied.items():
        if (known := other.removesuffix("weight").removesuffix(".")) in layers:
            alias = name.removesuffix("weight").removesuffix(".")
            sparse |= set(layers[known].tensors(alias))
    own = {name: t for name, t in model.state_dict().items() if isinstance(t, Tensor)}
    for what, names in (
        ("the model has no", state.keys() - own.keys()),
        ("the file lacks the model's", own.keys() - state.keys() - sparse),
    ):
        if names:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            msg = f"{what} {min(names)!r}{more}: it is of another model"
            raise ValueError(msg)
    for name, tensor in state.items():
        if tensor.shape != own[name].shape or tensor.dtype != own[name].dtype:
            msg = (
                f"{name!r} is {_kind(tensor)} in the file, {_kind(own[name])} in the model: build "
                "the model with the same sizes and convert it with model.to(dtype)"
            )
            raise ValueError(msg)


def _kind(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"
