"""Entries of a CSR layer that move: a new structure, with values and optimizer state kept right."""

from dataclasses import dataclass

import torch
from torch import Tensor

from sparsecore.nn.csr_layer import CSRLayer
from sparsecore.nn.positions import ascending, compressed, flat_positions

__all__ = ["Regrowth", "regrow_", "regrown"]


@dataclass(frozen=True, slots=True, eq=False)
class Regrowth:
    """A new structure, and where its entries come from."""

    # Columns and row offsets, in the narrowest signed dtypes.
    indices: Tensor
    indptr: Tensor
    # (new nnz,) int64: the entry's place among the old ones, -1 where it was grown.
    source: Tensor

    def moved(self, old: Tensor) -> Tensor:
        """Return (new nnz,) what (old nnz,) numbers become: kept ones as they are, grown ones 0."""
        if not len(old):
            return old.new_zeros(len(self.source))
        return old[self.source.clamp(min=0)].masked_fill_(self.source < 0, 0)


def regrown(
    indices: Tensor, indptr: Tensor, shape: tuple[int, int], *, drop: Tensor, grow: Tensor
) -> Regrowth:
    """Return the structure without the entries of `drop`, and with new ones at `grow`.

    Parameters
    ----------
    indices, indptr : (nnz,) and (rows + 1,) integers
        Of a valid CSR matrix.
    shape : (rows, columns)
    drop : (d,) int64
        Different places among the entries, in [0, nnz).
    grow : (g,) int64
        Different positions ``row * columns + column``, not those of entries that stay. A position
        of a dropped entry may be among them: this entry then stays as it was.

    Raises
    ------
    TypeError
        If `drop` or `grow` is not 1-D int64.
    ValueError
        If one of them is out of range or comes twice, or an entry that stays is grown.

    Examples
    --------
    >>> at = torch.tensor
    >>> new = regrown(at([1, 0, 3]), at([0, 1, 3]), (2, 4), drop=at([0, 2]), grow=at([0, 7]))
    >>> new.indices.tolist(), new.indptr.tolist(), new.source.tolist()
    ([0, 0, 3], [0, 1, 3], [-1, 1, 2])
    """
    rows, columns = shape
    flat = flat_positions(indices, indptr, columns)
    _check("drop", drop, len(flat))
    _check("grow", grow, rows * columns)
    kept = torch.ones(len(flat), dtype=torch.bool)
    kept[drop] = False
    grow = ascending(grow)
    place = torch.searchsorted(flat, grow)
    there = place < len(flat)
    there[there.clone()] = flat[place[there]] == grow[there]
    place = place[there]
    twice = grow[there][kept[place]]
    if len(twice):
        msg = f"regrown: grow has position {int(twice[0])}, where an entry is that stays"
        raise ValueError(msg)
    kept[place] = True
    return _merged(flat, kept, grow[~there], shape)


def _merged(flat: Tensor, kept: Tensor, new: Tensor, shape: tuple[int, int]) -> Regrowth:
    """Put new positions among those kept, both ascending, without sorting them all again."""
    stay = kept.nonzero().flatten()
    flat = flat[stay]
    is_new = torch.zeros(len(stay) + len(new), dtype=torch.bool)
    is_new[torch.searchsorted(flat, new) + torch.arange(len(new))] = True
    positions = new.new_empty(len(is_new)).masked_scatter_(is_new, new)
    source = torch.full_like(positions, -1).masked_scatter_(~is_new, stay)
    return Regrowth(*compressed(positions.masked_scatter_(~is_new, flat), *shape), source)


def _check(name: str, places: Tensor, size: int) -> None:
    if places.ndim != 1 or places.dtype != torch.int64:
        found = f"{places.ndim}-D {str(places.dtype).removeprefix('torch.')}"
        msg = f"regrown: {name} is {found}, expected 1-D int64"
        raise TypeError(msg)
    if not len(places):
        return
    ordered = ascending(places)
    low, high = int(ordered[0]), int(ordered[-1])
    if low < 0 or high >= size:
        msg = f"regrown: {name} has {low if low < 0 else high}, expected 0 to {size - 1}"
        raise ValueError(msg)
    if bool((ordered[1:] == ordered[:-1]).any()):
        msg = f"regrown: {name} names a place twice"
        raise ValueError(msg)


def regrow_(
    layer: CSRLayer,
    *,
    drop: Tensor,
    grow: Tensor,
    optimizer: torch.optim.Optimizer | None = None,
) -> None:
    """Move entries of a CSR layer, in place, and their optimizer state with them.

    ``layer.values`` stays the same Parameter, so the optimizer still holds it; its gradient becomes
    None, and `indices` and `indptr` become other tensors. Grown entries are zero. Every state
    tensor of the shape of `values` (``momentum_buffer``, ``exp_avg``, ``exp_avg_sq``, ...) moves in
    the same way: entries that stay keep their numbers, grown ones begin at zero. Other state, such
    as ``step``, is left alone. Where something is wrong, nothing has changed.

    Parameters
    ----------
    layer : CSRLinear or CSRConv2d
        Not prepared.
    drop : (d,) int64
        Places in ``layer.values`` to remove.
    grow : (g,) int64
        Positions ``row * columns + column`` of the weight, as ``layer.matrix().shape`` has them, to
        add; as many as are dropped, or not. An entry that is dropped and grown again keeps its
        value and its state.
    optimizer : torch.optim.Optimizer, optional
        Whose state to move.

    Raises
    ------
    TypeError, ValueError
        As :func:`regrown`; and where the layer is prepared for running, or its values are int8.

    Examples
    --------
    >>> from sparsecore.nn import CSRLinear
    >>> dense = torch.nn.Linear(4, 2)
    >>> with torch.no_grad():
    ...     _ = dense.weight.copy_(torch.tensor([[0.0, 2, 0, 0], [1, 0, 0, 3]]))
    >>> layer = CSRLinear.from_dense(dense)
    >>> regrow_(layer, drop=torch.tensor([1]), grow=torch.tensor([0]))
    >>> layer.matrix().toarray().tolist(), layer.indices.tolist()
    ([[0.0, 2.0, 0.0, 0.0], [0.0, 0.0, 0.0, 3.0]], [0, 1, 3])
    """
    if layer._plan is not None:
        msg = "regrow_: layer is prepared for running: call restore_() on it first"
        raise ValueError(msg)
    values = layer.values
    if layer._scale is not None:
        msg = "regrow_: layer has int8 values, which do not train: regrow it first, then store them"
        raise ValueError(msg)
    with torch.inference_mode(mode=False), torch.no_grad():
        shape = layer._weight_shape()
        change = regrown(layer.indices, layer.indptr, shape, drop=drop, grow=grow)
        state = {} if optimizer is None else optimizer.state.get(values, {})
        moved = {
            name: change.moved(old)
            for name, old in state.items()
            if isinstance(old, Tensor) and old.shape == values.shape
        }
        _put(values, change.moved(values.detach()))
    state.update(moved)
    layer.indices, layer.indptr = change.indices, change.indptr
    layer._held = None


def _put(values: Tensor, data: Tensor) -> None:
    """Give a Parameter other numbers, perhaps more or fewer."""
    values.grad = None
    if data.shape != values.shape:
        # Graphs of earlier steps may keep alive what accumulates gradients, which remembers the
        # shape. torch makes it again where the dtype has changed in between.
        other = torch.float32 if values.dtype == torch.float64 else torch.float64
        values.data = torch.empty(0, dtype=other)
    values.data = data
    # Graphs that were recorded before must not run back through other entries.
    torch.autograd.graph.increment_version(values)
