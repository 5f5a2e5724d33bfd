"""The dense gradient of a sparse layer's weight, rows at a time, from what the layer saw.

The gradient of all weights, stored or not, is ``dY^T X``. It is never whole in memory: a `Tap`
keeps X and dY, and `gradient_blocks` multiplies them for a few rows at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.grad import conv2d_weight

from sparsecore.conv_geometry import ConvGeometry
from sparsecore.nn import CSRConv2d
from sparsecore.nn.csr_layer import CSRLayer

__all__ = ["Tap", "gradient_blocks"]

# Bytes that an entry of a block takes with what ranks it: the number, a comparison, and at worst
# its place and its copies among the candidates.
_ENTRY_BYTES = 64


class Tap:
    """Keeps the inputs of a layer and the gradients of its outputs, one pair a call, until closed.

    The pairs are those whose gradients are in ``values.grad``: they are forgotten when the layer is
    called after its gradient was cleared or edited, so that they sum up over micro-batches and not
    over steps that were skipped. (A layer that is called twice inside one checkpoint's backward
    pass is the exception.) They keep alive the layer's inputs, which autograd would free after the
    backward pass, and the gradients, of these micro-batches.
    """

    def __init__(self, layer: CSRLayer | None = None) -> None:
        self.pairs: list[tuple[Tensor, Tensor, int]] = []
        # The gradient, and its version, that the pairs have gone into.
        self._summed: tuple[Tensor | None, int] = (None, 0)
        self._handles: list[Any] = []
        if layer is not None:
            values: Any = layer.values
            self._handles = [
                layer.register_forward_hook(self),
                values.register_post_accumulate_grad_hook(self._accumulated),
            ]

    def __reduce__(self) -> tuple[type[Tap], tuple[()]]:
        """Leave an inert hook in a model that is copied or saved while it is watched."""
        return (Tap, ())

    def __call__(self, layer: Any, inputs: tuple[Any, ...], output: Any) -> None:
        """Watch one call: torch's forward hook."""
        if not self._handles or not isinstance(output, Tensor) or not output.requires_grad:
            return
        gradient: Tensor | None = layer.values.grad
        summed, version = self._summed
        if gradient is None or gradient is not summed or gradient._version != version:
            self.pairs.clear()
        x = inputs[0].detach()
        seen = x._version

        def keep(dy: Tensor) -> None:
            if self._handles:
                self.pairs.append((x, dy, seen))

        watched: Any = output
        watched.register_hook(keep)

    def _accumulated(self, values: Tensor) -> None:
        gradient = values.grad
        self._summed = (gradient, 0 if gradient is None else gradient._version)

    def take(self) -> list[tuple[Tensor, Tensor]]:
        """Return the pairs (X, dY).

        Raises
        ------
        RuntimeError
            If an input was edited after its backward pass.
        """
        if any(x._version != seen for x, _, seen in self.pairs):
            msg = (
                "a layer's input was edited in place before the mask update that needs it: hand "
                "the model another tensor in each micro-batch"
            )
            raise RuntimeError(msg)
        return [(x, dy) for x, dy, _ in self.pairs]

    def close(self) -> None:
        """Stop watching and forget what was seen; safe to repeat."""
        for handle in self._handles:
            handle.remove()
        self._handles = []
        self.pairs.clear()
        self._summed = (None, 0)


def gradient_blocks(
    layer: CSRLayer, pairs: Sequence[tuple[Tensor, Tensor]], *, memory: int
) -> Iterator[tuple[int, Tensor]]:
    """Yield the dense gradient of a layer's weight, in the order of its rows.

    Parameters
    ----------
    layer : CSRLinear or CSRConv2d
    pairs : sequence of (X, dY)
        Inputs and gradients of outputs, as the layer's forward takes and returns them. Their
        gradients are summed.
    memory : int
        Bytes. A block has ``memory / 64`` entries at most, which leaves room to rank them; for a
        convolution, what images unfold to takes as much again. One row, and one image, is the
        least.

    Yields
    ------
    first : int
        The block's first row.
    block : Tensor, (b, columns), of the dtype of ``layer.values``
        Rows ``first`` to ``first + b`` of ``sum(dY^T X)``.
    """
    rows, columns = layer._weight_shape()
    step = max(1, memory // (_ENTRY_BYTES * max(columns, 1)))
    dtype = layer.values.dtype
    if isinstance(layer, CSRConv2d):
        images = [(_batched(x), _batched(dy)) for x, dy in pairs]
        yield from _conv_blocks(layer, images, step, memory, dtype)
        return
    flat = [(x.reshape(-1, columns).to(dtype), dy.reshape(-1, rows)) for x, dy in pairs]
    for first in range(0, rows, step):
        here = slice(first, min(first + step, rows))
        block = torch.zeros(here.stop - first, columns, dtype=dtype)
        for x, dy in flat:
            block.addmm_(dy[:, here].to(dtype).T, x)
        yield first, block


def _batched(images: Tensor) -> Tensor:
    return images if images.ndim == 4 else images.unsqueeze(0)


def _conv_blocks(
    layer: CSRConv2d,
    pairs: Sequence[tuple[Tensor, Tensor]],
    step: int,
    memory: int,
    dtype: torch.dtype,
) -> Iterator[tuple[int, Tensor]]:
    g = layer.geometry
    inputs, outputs = layer.in_channels // g.groups, layer.out_channels // g.groups
    for group in range(g.groups):
        channels = slice(group * inputs, (group + 1) * inputs)
        for row in range(0, outputs, step):
            first = group * outputs + row
            stop = group * outputs + min(row + step, outputs)
            block = torch.zeros(stop - first, inputs, *g.kernel_size, dtype=dtype)
            for x, dy in pairs:
                for some in _few(x, dy, layer, memory):
                    patch = x[some, channels].to(dtype)
                    _add_gradient(block, patch, dy[some, first:stop].to(dtype), g)
            yield first, block.flatten(1)


def _few(x: Tensor, dy: Tensor, layer: CSRConv2d, memory: int) -> Iterator[slice]:
    """Yield slices of as many images as unfold to `memory` bytes, copies of them included."""
    if not len(x):
        return
    numbers = layer._weight_shape()[1] * dy.shape[2] * dy.shape[3] + x[0].numel() + dy[0].numel()
    some = max(1, memory // max(1, 2 * numbers * layer.values.element_size()))
    for first in range(0, len(x), some):
        yield slice(first, first + some)


def _add_gradient(block: Tensor, x: Tensor, dy: Tensor, g: ConvGeometry) -> None:
    rest: Any = (g.stride, g.padding, g.dilation)
    block += conv2d_weight(x, list(block.shape), dy, *rest)  # type: ignore[no-untyped-call]
