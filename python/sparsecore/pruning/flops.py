"""FLOPs of training, exactly as the RigL paper counts them.

A multiply-accumulate is two operations; biases, activations and normalisation are left out. A
backward pass costs two forward passes, so a step of dense training is 3 f_D, with f_D the forward
FLOPs of the dense network and f_S those of the sparse one. ``sparsecore.pruning.forward_flops``
counts a model's, layer by layer. What a machine gains is another matter, to be measured.

References
----------
Evci et al., "Rigging the Lottery: Making All Tickets Winners", ICML 2020, section 3 and appendix on
the calculation of FLOPs.

Examples
--------
>>> shapes = {"fc1": (300, 784), "fc2": (100, 300), "fc3": (10, 100)}
>>> dense = {name: layer(shape) for name, shape in shapes.items()}
>>> from sparsecore.pruning import allocation
>>> f_d, f_s = sum(dense.values()), sparse(dense, allocation.uniform(shapes, 0.9), shapes)
>>> f_d, f_s
(532400, 53240)
>>> float(rigl(f_s, f_d, every=100)) / dense_training(f_d)
0.10297029702970296
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from sparsecore.pruning._numbers import checked_sparsity, integer

if TYPE_CHECKING:
    from sparsecore.pruning._arrays import Array
    from sparsecore.pruning.schedules import Schedule

__all__ = ["dense_training", "gradual", "layer", "rigl", "sparse", "static"]


def layer(shape: Sequence[int], positions: int = 1) -> int:
    """Return the forward FLOPs of a dense layer.

    Parameters
    ----------
    shape : sequence of int
        Of the weight: (out, in), or (out, in / groups, kh, kw).
    positions : int
        How often the whole weight is applied: rows of a linear layer's input, pixels of a
        convolution's output, times images.

    Examples
    --------
    >>> layer((64, 3, 7, 7), positions=112 * 112) // 2
    118013952
    """
    sides = [integer(side, name="flops.layer: a length of shape") for side in shape]
    return 2 * math.prod(sides) * integer(positions, name="flops.layer: positions")


def sparse(
    dense: Mapping[str, int],
    kept: Mapping[str, int],
    shapes: Mapping[str, Sequence[int] | Array],
) -> int:
    """Return the forward FLOPs f_S of a sparse network.

    Parameters
    ----------
    dense : mapping of str to int
        Forward FLOPs of each dense layer, as `layer` or ``forward_flops`` gives them.
    kept : mapping of str to int
        Kept weights of the sparse layers, as an allocation gives them; the others are dense.
    shapes : mapping of str to shape or array
        Of those in `kept`, at least.

    Raises
    ------
    ValueError
        A name in `kept` that `dense` or `shapes` has not, or FLOPs that are no multiple of the
        layer's weights.
    TypeError
        A count that is no integer.

    Examples
    --------
    >>> sparse({"a": 80, "b": 30}, {"a": 5}, {"a": (5, 8)})
    40
    """
    for name, given in kept.items():
        count = integer(given, name=f"flops.sparse: kept[{name!r}]")
        size = math.prod(getattr(shapes[name], "shape", shapes[name])) if name in shapes else 0
        if name not in dense or not size or dense[name] % size or not 0 <= count <= size:
            msg = (
                f"flops.sparse: {name} keeps {count} of {size} weights and has {dense.get(name)} "
                "FLOPs when dense; expected a layer of dense and shapes, 0 to all of its weights, "
                "and FLOPs that are a multiple of them"
            )
            raise ValueError(msg)
    sizes = {name: math.prod(getattr(shapes[name], "shape", shapes[name])) for name in kept}
    return sum(
        flops // sizes[name] * kept[name] if name in kept else flops
        for name, flops in dense.items()
    )


def dense_training(f_d: int) -> int:
    """Return the FLOPs of a step of dense training, 3 f_D."""
    return 3 * f_d


def static(f_s: int) -> int:
    """Return the FLOPs of a step of training with fixed masks, or of SET: 3 f_S.

    Also that of a lottery ticket, SNIP, GraSP and SynFlow once the masks are there.
    """
    return 3 * f_s


def rigl(f_s: int, f_d: int, *, every: int = 100) -> Fraction:
    """Return the FLOPs of a step of RigL in the mean.

    Of `every` + 1 steps one computes dense gradients to update the masks:
    (3 f_S every + 2 f_S + f_D) / (every + 1).

    Parameters
    ----------
    f_s, f_d : int
        Forward FLOPs of the sparse and of the dense network.
    every : int
        Steps between mask updates, the paper's delta T.

    Raises
    ------
    ValueError
        `every` below 1.
    TypeError
        It is no integer.

    Examples
    --------
    >>> rigl(10, 100, every=100)
    Fraction(3120, 101)
    """
    if integer(every, name="flops.rigl: every") < 1:
        msg = f"flops.rigl: every is {every}, expected at least 1"
        raise ValueError(msg)
    return Fraction(3 * f_s * every + 2 * f_s + f_d, every + 1)


def gradual(
    sparse_flops: Callable[[float], Any], schedule: Schedule, *, final: float, steps: int
) -> Fraction:
    """Return the FLOPs of a step of gradual pruning in the mean over a training.

    The mean of 3 f_S(s_t) over the steps t = 1 to `steps`, each at the sparsity in force when it
    begins, s_(t-1).

    Parameters
    ----------
    sparse_flops : callable
        Forward FLOPs at a sparsity, as ``lambda s: sparse(dense, uniform(shapes, s), shapes)``.
    schedule : Schedule
        ``Cubic(...)``, or another that depends on the step.
    final : float
        The final sparsity.
    steps : int
        Of the whole training, at least 1.

    Raises
    ------
    ValueError
        `steps` below 1, or `final` outside [0, 1).
    TypeError
        One of them is no number, or `steps` no integer.

    Examples
    --------
    >>> from sparsecore.pruning import Cubic
    >>> gradual(lambda s: round(100 * (1 - s)), Cubic(0, 2, 1), final=0.8, steps=4)
    Fraction(255, 2)
    """
    final = checked_sparsity(final, caller="flops.gradual", name="final")
    if integer(steps, name="flops.gradual: steps") < 1:
        msg = f"flops.gradual: steps is {steps}, expected at least 1"
        raise ValueError(msg)
    lengths: dict[float, int] = {}
    for step in range(steps):
        sparsity = schedule.sparsity_at(step, final)
        lengths[sparsity] = lengths.get(sparsity, 0) + 1
    total = sum(3 * Fraction(sparse_flops(s)) * length for s, length in lengths.items())
    return Fraction(total) / steps
