"""What the convolution's operators do: with numbers, with shapes alone, and backwards.

A convolution is linear in the images and in the values, and so are its two gradients in dY and in
one of these: of the three operators, each one's gradients are the other two.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from sparsecore import _core
from sparsecore.conv import ConvPlan
from sparsecore.conv_geometry import ConvGeometry
from sparsecore.formats import CSR
from sparsecore.library import packed, recorded, shapes
from sparsecore.library.gradients import ConvBackward
from sparsecore.library.kinds import Kind
from sparsecore.torch_conv import Groups

GEOMETRY_SCHEMA = "int[] kernel_size, int[] stride, int[] padding, int[] dilation, int groups"
SCHEMA = (
    f"{GEOMETRY_SCHEMA}, Tensor? scale=None, Tensor? bias=None, Tensor? residual=None, "
    "str? activation=None, int? threads=None"
)
_GEOMETRY = 5  # how many arguments it takes


class Convolution(NamedTuple):
    """The arguments of a convolution that follow the weight."""

    kernel_size: list[int]
    stride: list[int]
    padding: list[int]
    dilation: list[int]
    groups: int
    scale: Tensor | None = None
    bias: Tensor | None = None
    residual: Tensor | None = None
    activation: str | None = None
    threads: int | None = None

    @property
    def geometry(self) -> list[Any]:
        """Its first arguments, as all three operators have them."""
        return list(self[:_GEOMETRY])


def conv2d_of(kind: Kind) -> Any:
    """Return the convolution's operator."""
    return getattr(torch.ops.sparsecore, f"{kind.name}_conv2d")


def image_gradient_of(kind: Kind) -> Any:
    """Return the operator of the images' gradient."""
    return getattr(torch.ops.sparsecore, f"{kind.name}_conv2d_image_gradient")


def values_gradient_of(kind: Kind) -> Any:
    """Return the operator of the values' gradient."""
    return getattr(torch.ops.sparsecore, f"{kind.name}_conv2d_values_gradient")


def _parts(kind: Kind, rest: Sequence[Any]) -> tuple[list[Any], list[Any], Sequence[Any]]:
    """Split arguments into those that say which matrix, the geometry, and what follows."""
    end = kind.width + _GEOMETRY
    return list(rest[: kind.width]), list(rest[kind.width : end]), rest[end:]


# ---- with numbers ----


def conv2d(kind: Kind, x: Tensor, values: Tensor, *rest: Any) -> Tensor:
    """Convolve; `rest` says which matrix, then what `Convolution` lists."""
    given = Convolution(*rest[kind.width :])
    geometry = ConvGeometry.of(*given.geometry)
    thing = kind.find(*rest[: kind.width])
    if isinstance(thing, ConvPlan) and values.numel() == 0:
        if thing.geometry != geometry:
            msg = f"conv2d: the plan is of {thing.geometry}, the call of {geometry}"
            raise ValueError(msg)
        plan = thing._plan
    else:
        plan = packed.plan_of(_structure(thing), values, geometry)
    epilogue = (given.scale, given.bias, given.residual, given.activation)
    y: Tensor = _core.conv2d(plan, x, None, given.threads, *epilogue)
    return y


def image_gradient(kind: Kind, dY: Tensor, values: Tensor, *rest: Any) -> Tensor:
    """Return the gradient of the images; `rest` ends with their height and width, and threads."""
    structure, geometry, (size, threads) = _parts(kind, rest)
    thing = kind.find(*structure)
    with torch.no_grad(), torch.autocast("cpu", enabled=False):
        if isinstance(thing, ConvPlan) and values.numel() == 0:
            weight = thing.tocsr()
        else:
            weight = CSR._wrap(_structure(thing), values)
        return Groups(weight, ConvGeometry.of(*geometry), threads).image_gradient(dY, size)


def values_gradient(kind: Kind, dY: Tensor, x: Tensor, *rest: Any) -> Tensor:
    """Return the gradient of the values; `rest` ends with threads."""
    structure, geometry, (threads,) = _parts(kind, rest)
    found = _structure(kind.find(*structure))
    with torch.no_grad(), torch.autocast("cpu", enabled=False):
        pattern = CSR._wrap(found, dY.new_zeros(found.nnz))
        return Groups(pattern, ConvGeometry.of(*geometry), threads).values_gradient(dY, x)


def _structure(thing: Any) -> _core.CsrStructure:
    structure: _core.CsrStructure = thing._structure if isinstance(thing, ConvPlan) else thing
    return structure


# ---- without numbers ----


def fake_conv2d(kind: Kind, x: Tensor, values: Tensor, *rest: Any) -> Tensor:
    """Return what `conv2d` would, without its numbers."""
    given = Convolution(*rest[kind.width :])
    rows, columns, *_ = rest[kind.width - 1]
    return shapes.convolved(
        x,
        values,
        (rows, columns),
        ConvGeometry.of(*given.geometry),
        (given.scale, given.bias, given.residual, given.activation),
    )


def fake_image_gradient(kind: Kind, dY: Tensor, values: Tensor, *rest: Any) -> Tensor:
    """Return what `image_gradient` would, without its numbers."""
    del values
    structure, geometry, (size, _) = _parts(kind, rest)
    channels = shapes.conv_channels(structure[-1][1], ConvGeometry.of(*geometry))
    return dY.new_empty([dY.shape[0], channels, *size])


def fake_values_gradient(kind: Kind, dY: Tensor, x: Tensor, *rest: Any) -> Tensor:
    """Return what `values_gradient` would, without its numbers."""
    del x
    return dY.new_empty(kind.value_shape(*rest[: kind.width]))


# ---- backwards ----


def conv2d_backward(kind: Kind, ctx: Any, dY: Tensor) -> tuple[Any, ...]:
    """Return a convolution's gradients, one for each argument."""
    x, values, *rest = recorded.saved(ctx)
    structure, given = rest[: kind.width], Convolution(*rest[kind.width :])
    geometry, threads = given.geometry, given.threads
    if given.activation is not None:
        linear = given._replace(activation=None)
        y = conv2d_of(kind)(x, values, *structure, *linear)
        dY = recorded.through(given.activation, dY, y)
    back = ConvBackward(
        lambda x: _convolved(kind, x, values, structure, geometry, threads),
        lambda dY: image_gradient_of(kind)(
            dY, values, *structure, *geometry, list(x.shape[2:]), threads
        ),
        lambda dY, x: values_gradient_of(kind)(dY, x, *structure, *geometry, threads),
    )
    first = 2 + kind.width + _GEOMETRY
    places = (1, 0, first, first + 1, first + 2)  # values, x, scale, bias, residual
    asked = ctx.needs_input_grad  # shorter where a call left its last arguments out
    needs = [place < len(asked) and asked[place] for place in places]
    dtypes = [None if t is None else t.dtype for t in (values, given.bias, given.residual)]
    found = back.gradients(dY, x, given.scale, needs, dtypes)
    gradients: list[Tensor | None] = [None] * (2 + kind.width + len(given))
    for place, gradient in zip(places, found, strict=True):
        gradients[place] = gradient
    return tuple(gradients)


def image_gradient_backward(kind: Kind, ctx: Any, dG: Tensor) -> tuple[Any, ...]:
    """Return the gradients of the images' gradient, one for each argument."""
    dY, values, *rest = recorded.saved(ctx)
    structure, geometry, (_, threads) = _parts(kind, rest)
    d_dY = d_values = None
    if ctx.needs_input_grad[0]:
        d_dY = _convolved(kind, dG, values, structure, geometry, threads)
    if ctx.needs_input_grad[1]:
        d_values = values_gradient_of(kind)(dY, dG, *structure, *geometry, threads)
        d_values = d_values.to(values.dtype)
    return (d_dY, d_values, *[None] * len(rest))


def values_gradient_backward(kind: Kind, ctx: Any, dD: Tensor) -> tuple[Any, ...]:
    """Return the gradients of the values' gradient, one for each argument."""
    dY, x, *rest = recorded.saved(ctx)
    structure, geometry, (threads,) = _parts(kind, rest)
    d_dY = d_x = None
    if ctx.needs_input_grad[0]:
        d_dY = _convolved(kind, x, dD, structure, geometry, threads)
    if ctx.needs_input_grad[1]:
        size = list(x.shape[2:])
        d_x = image_gradient_of(kind)(dY, dD, *structure, *geometry, size, threads)
    return (d_dY, d_x, *[None] * len(rest))


def _convolved(
    kind: Kind,
    x: Tensor,
    values: Tensor,
    structure: list[Any],
    geometry: list[Any],
    threads: int | None,
) -> Tensor:
    """Return the convolution alone."""
    is_int8 = values.dtype == torch.int8 and x.is_floating_point()
    ones = x.new_ones(structure[-1][0]) if is_int8 else None
    epilogue = (ones, None, None, None)
    y: Tensor = conv2d_of(kind)(x, values, *structure, *geometry, *epilogue, threads)
    return y
