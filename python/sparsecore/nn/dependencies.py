"""Which channels of which layers go together: the dependency graph of the library torch-pruning.

Fang et al., "DepGraph: Towards Any Structural Pruning", CVPR 2023. The graph says what would have
to be removed with a unit; it takes operations that it does not know for elementwise ones, so what
it says is checked before anything is believed (`taint`) and after it was done (`shrink`).
"""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from sparsecore.nn.example import Example, undisturbed
from sparsecore.nn.taint import Layer

__all__ = ["Unit", "cut", "import_torch_pruning", "is_depthwise", "units_of"]

# Operations without parameters, and layers that work on each channel alone.
_THROUGH = (
    *("CONCAT", "SPLIT", "ELEMENTWISE", "RESHAPE", "SLICE", "UNBIND", "EXPAND", "OUTPUT"),
    *("BN", "PRELU", "IN", "DEPTHWISE_CONV"),
)


@dataclass(frozen=True, slots=True)
class Unit:
    """What goes together with one unit of one layer.

    Attributes
    ----------
    layer : nn.Linear or convolution
    index : int
    given : mapping of module to set of int
        Outputs: of layers, and of those that work on each channel alone.
    read : mapping of layer to set of int
        Inputs of the layers that read it. Several where a picture is flattened.
    obstacle : str or None
        What else depends on it, which cannot be cut.
    """

    layer: Layer
    index: int
    given: Mapping[nn.Module, frozenset[int]]
    read: Mapping[Layer, frozenset[int]]
    obstacle: str | None


def import_torch_pruning(caller: str = "shrink_") -> ModuleType:
    """Return the library, or raise ImportError and say who needs it and how to install it."""
    try:
        import torch_pruning
    except ImportError as error:
        msg = (
            f"{caller} needs the library torch-pruning: pip install 'sparsecore[structured]', or "
            "pip install 'torch-pruning>=1.5'"
        )
        raise ImportError(msg) from error
    module: ModuleType = torch_pruning
    return module


def units_of(model: nn.Module, example: Example, *, caller: str = "shrink_") -> list[Unit]:
    """Return all units of all linear layers and convolutions that the example's run leads through.

    Raises
    ------
    ValueError
        If torch-pruning cannot trace the model.
    """
    graph = _traced(caller, model, example)
    layers = [m for m in model.modules() if isinstance(m, Layer) and m in graph.module2node]
    return [unit for layer in layers for unit in _units(graph, layer)]


def is_depthwise(module: nn.Module) -> bool:
    """Whether each channel of a convolution is read by the one unit of the same number."""
    if not isinstance(module, nn.modules.conv._ConvNd):
        return False
    return 1 < module.groups == module.in_channels == module.out_channels


def cut(module: nn.Module, axis: str, indices: Sequence[int]) -> None:
    """Remove outputs ("out") or inputs ("in") of a layer, in place, on new Parameters.

    Of a convolution with groups, as many of each.
    """
    if axis == "in" and getattr(module, "groups", 1) > 1 and not is_depthwise(module):
        _cut_inputs_of_groups(module, indices)
        return
    tp = import_torch_pruning()
    flags = {name: p.requires_grad for name, p in module.named_parameters(recurse=False)}
    kind = tp.ops.module2type(module)
    pruner = tp.pruner.function.PrunerBox[kind]
    prune = pruner.prune_out_channels if axis == "out" else pruner.prune_in_channels
    prune(module, list(indices))
    for name, parameter in module.named_parameters(recurse=False):
        parameter.requires_grad_(flags[name])


def _cut_inputs_of_groups(conv: Any, indices: Sequence[int]) -> None:
    left = torch.ones(conv.in_channels, dtype=torch.bool)
    left[list(indices)] = False
    columns = [mask.nonzero()[:, 0] for mask in left.view(conv.groups, -1)]
    blocks = zip(conv.weight.detach().chunk(conv.groups), columns, strict=True)
    weight = torch.cat([rows.index_select(1, kept.to(rows.device)) for rows, kept in blocks])
    conv.weight = nn.Parameter(weight, requires_grad=conv.weight.requires_grad)
    conv.in_channels -= len(indices)


def _traced(caller: str, model: nn.Module, example: Example) -> Any:
    tp = import_torch_pruning(caller)
    graph = tp.DependencyGraph()
    # Identities that have channels, behind the inputs: the graph asks layers for their number.
    marks: dict[int, nn.Module] = {}
    example.map(lambda t: _mark(t, marks))
    try:
        with undisturbed(model), _recorded(model), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of operations that it does not know: see above
            return graph.build_dependency(
                nn.ModuleList([model, *marks.values()]),
                example,
                forward_fn=lambda _, given: given.map(lambda t: _passed(t, marks)).call(model),
                output_transform=_in_lists,
                verbose=False,
            )
    except Exception as error:  # of any kind: it runs the model, and reads torch's own graph
        msg = (
            f"{caller}: torch-pruning cannot trace the model, which must be plain Python whose "
            f"output depends on its parameters by autograd: {type(error).__name__}: {error}"
        )
        raise ValueError(msg) from error


def _mark(tensor: Tensor, marks: dict[int, nn.Module]) -> Tensor:
    if tensor.is_floating_point() and tensor.ndim in {2, 4}:
        kind = {"device": tensor.device, "dtype": tensor.dtype}
        marks[id(tensor)] = nn.PReLU(tensor.shape[1], init=1.0, **kind)
    return tensor


def _passed(tensor: Tensor, marks: Mapping[int, nn.Module]) -> Tensor:
    copy = tensor.detach().clone()
    return marks[id(tensor)](copy) if id(tensor) in marks else copy


def _in_lists(output: Any) -> list[Tensor]:
    """Return the tensors of an output that autograd recorded."""
    leaves = pytree.tree_leaves(output)
    found = [t for t in leaves if isinstance(t, Tensor) and t.grad_fn is not None]
    if not found:
        msg = "no tensor of the output has a grad_fn"
        raise RuntimeError(msg)
    return found


@contextmanager
def _recorded(model: nn.Module) -> Iterator[None]:
    """Have autograd record everything, the use of frozen parameters, too."""
    frozen = [p for p in model.parameters() if not p.requires_grad and p.is_floating_point()]
    try:
        with torch.enable_grad():
            for parameter in frozen:
                parameter.requires_grad_(True)
            yield
    finally:
        for parameter in frozen:
            parameter.requires_grad_(False)


def _units(graph: Any, layer: Layer) -> list[Unit]:
    """Return a layer's units: one question for all, sorted by the unit that each index is of."""
    marks = set(graph.model[1:])
    pruner = graph.get_pruner_of_module(layer)
    count = pruner.get_out_channels(layer)
    group = graph.get_pruning_group(layer, pruner.prune_out_channels, list(range(count)))
    given: list[dict[nn.Module, set[int]]] = [{} for _ in range(count)]
    read: list[dict[Layer, set[int]]] = [{} for _ in range(count)]
    obstacles: list[str | None] = [None] * count
    for item in group:
        module, node = item.dep.target.module, item.dep.target
        is_out = graph.is_out_channel_pruning_fn(item.dep.handler)
        size = (graph.get_out_channels if is_out else graph.get_in_channels)(module)
        for index, root in zip(item.idxs, item.root_idxs, strict=True):
            if size is not None and index >= size:
                obstacles[root] = "channels change their places, which the graph cannot follow"
            elif isinstance(module, nn.Module) and module in marks:
                obstacles[root] = "it goes together with a channel of the model's input"
            elif node.type.name in _THROUGH:
                given[root].setdefault(module, set()).add(index)
            elif isinstance(module, Layer):
                (given if is_out else read)[root].setdefault(module, set()).add(index)
            else:
                obstacles[root] = f"a {type(module).__name__} depends on it as a whole"
    return [
        Unit(
            layer,
            index,
            {m: frozenset(found) for m, found in given[index].items() if _has_channels(m)},
            {m: frozenset(found) for m, found in read[index].items()},
            obstacles[index],
        )
        for index in range(count)
    ]


def _has_channels(module: nn.Module) -> bool:
    """Whether it is a layer of the model, not an operation that stands in the graph."""
    return not type(module).__module__.startswith("torch_pruning")
