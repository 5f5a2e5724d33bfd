"""What a sparse checkpoint's header says: which tensors are a layer's, and how the model was fused.

JSON under the key ``sparsecore`` of safetensors' ``__metadata__``; docs/checkpoints.md has the
layout. One key only, because the order of several differs from run to run.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from sparsecore.conv_geometry import ConvGeometry
from sparsecore.files.header_fields import Fields

__all__ = ["KEY", "TENSORS", "Fused", "Header", "Layer", "join", "read_header"]

KEY = "sparsecore"
VERSION = 1
# The tensors of each format, under the layer's name.
TENSORS: dict[str, tuple[str, ...]] = {
    "csr": ("values", "indices", "indptr"),
    "2:4": ("values", "metadata"),
}
ACTIVATIONS = ("relu", "gelu", "silu")
# Dtypes of layers whose values may be stored narrower.
DTYPES = ("float64", "float32", "float16", "bfloat16")
_GEOMETRY = ("stride", "padding", "dilation")
Value = TypeVar("Value")


def join(*names: str) -> str:
    """Join the names of modules and tensors with dots; empty ones are left out."""
    return ".".join(filter(None, names))


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer whose weight is sparse.

    Attributes
    ----------
    format : {"csr", "2:4"}
    weight_shape : tuple of int
        Of the dense weight: (out_features, in_features), or of a convolution (out_channels,
        in_channels / groups, kernel_h, kernel_w), whose matrix has the last three as its columns.
    geometry : ConvGeometry or None
        Of a convolution, where it is known.
    activation : {"relu", "gelu", "silu"} or None
        What the layer ends with.
    fused : bool
        Whether it took the place of a layer that was fused with what follows it.
    prepared : bool
        Whether it was prepared for running.
    rows : int or None
        The number of rows that it was prepared for, where one was given.
    dtype : {"float64", "float32", "float16", "bfloat16"} or None
        The layer's, where its values are stored narrower; None where it is theirs.
    is_scaled : bool
        Whether the values are int8, and a tensor `scale` has the factor of each row.
    """

    format: str
    weight_shape: tuple[int, ...]
    geometry: ConvGeometry | None = None
    activation: str | None = None
    fused: bool = False
    prepared: bool = False
    rows: int | None = None
    dtype: str | None = None
    is_scaled: bool = False

    @property
    def matrix_shape(self) -> tuple[int, int]:
        """Of the weight as a matrix."""
        rows, *rest = self.weight_shape
        columns = 1
        for extent in rest:
            columns *= extent
        return (rows, columns)

    def tensors(self, name: str) -> list[str]:
        """Return the names of the weight's tensors in the file."""
        return [join(name, tensor) for tensor in self.parts]

    @property
    def parts(self) -> tuple[str, ...]:
        """The tensors of the weight; the scale is the last."""
        return (*TENSORS[self.format], "scale") if self.is_scaled else TENSORS[self.format]

    def to_json(self) -> dict[str, Any]:
        """Return the layer's object in the header: what has its default is left out."""
        given: dict[str, Any] = {"format": self.format, "weight_shape": list(self.weight_shape)}
        if self.geometry is not None:
            given |= {name: list(getattr(self.geometry, name)) for name in _GEOMETRY}
            given["groups"] = self.geometry.groups
        if self.activation is not None:
            given["activation"] = self.activation
        if self.fused:
            given["fused"] = True
        if self.prepared:
            given["prepared"] = {} if self.rows is None else {"rows": self.rows}
        if self.dtype is not None:
            given["dtype"] = self.dtype
        if self.is_scaled:
            given["scaled"] = True
        return given


@dataclass(frozen=True, slots=True)
class Fused:
    """What ``sparsify_(trainable=False)`` fused.

    Attributes
    ----------
    modules : dict of str to bool
        Modules whose forward was replaced; whether it brings images into channels_last order.
    layers : dict of str to str or None
        The layers that something was fused with, dense ones, too, and their activations.
    """

    modules: Mapping[str, bool] = field(default_factory=dict)
    layers: Mapping[str, str | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Header:
    """All that the headers of a checkpoint's files say.

    Attributes
    ----------
    layers : dict of str to Layer
        The sparse ones, by name.
    tied : dict of str to str
        Names that stand for what is stored under another: of tensors, or of sparse weights.
    dense : tuple of str
        The linear layers and convolutions that stayed dense.
    fused : Fused
    """

    layers: Mapping[str, Layer] = field(default_factory=dict)
    tied: Mapping[str, str] = field(default_factory=dict)
    dense: tuple[str, ...] = ()
    fused: Fused = field(default_factory=Fused)

    def metadata(self, names: Iterable[str], first: bool) -> dict[str, str]:
        """Return the metadata of a file that holds these tensors: what is said of them.

        What is said of the whole model is in the first file.
        """
        held = set(names)
        layers = {n: v for n, v in self.layers.items() if v.tensors(n)[0] in held}
        content: dict[str, Any] = {"version": VERSION}
        if layers:
            content["layers"] = {name: layer.to_json() for name, layer in layers.items()}
        if first and self.tied:
            content["tied"] = dict(self.tied)
        if first and self.dense:
            content["dense"] = list(self.dense)
        if first and self.fused.modules:
            modules, fused = dict(self.fused.modules), dict(self.fused.layers)
            content["fused"] = {"modules": modules, "layers": fused}
        return {KEY: json.dumps(content)}

    def __add__(self, other: "Header") -> "Header":
        """Return what two files say together."""
        fused = Fused(
            _merged(self.fused.modules, other.fused.modules, "fused module"),
            _merged(self.fused.layers, other.fused.layers, "fused layer"),
        )
        return Header(
            _merged(self.layers, other.layers, "layer"),
            _merged(self.tied, other.tied, "tied name"),
            (*self.dense, *other.dense),
            fused,
        )


def _merged(one: Mapping[str, Value], other: Mapping[str, Value], what: str) -> dict[str, Value]:
    for name in one.keys() & other.keys():
        msg = f"{what} {name!r} is described in two files"
        raise ValueError(msg)
    return {**one, **other}


# ---- reading ----


def read_header(metadata: Mapping[str, str]) -> Header | None:
    """Read what one file says; None where it is no file of ours.

    Raises
    ------
    ValueError
        Where its version is unknown or it is not what this version has; names the place.
    """
    text = metadata.get(KEY)
    if text is None:
        return None
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as fault:
        msg = f"the header's {KEY!r} is not JSON: {fault}"
        raise ValueError(msg) from fault
    version = content.get("version") if isinstance(content, dict) else None
    if type(version) is not int or version != VERSION:
        msg = f"the header has format version {version!r:.80}, this sparsecore reads {VERSION}"
        raise ValueError(msg)
    top = Fields(content, "the header", ("version", "layers", "tied", "dense", "fused"))
    fused = Fields(top.mapping("fused"), "'fused'", ("modules", "layers"))
    modules, activations = fused.mapping("modules"), fused.mapping("layers")
    return Header(
        {name: _read_layer(spec, name) for name, spec in top.mapping("layers").items()},
        {
            name: top.text(other, f"tied name {name!r}")
            for name, other in top.mapping("tied").items()
        },
        tuple(top.text(name, "'dense'") for name in top.array("dense")),
        Fused(
            {n: fused.flag(v, f"module {n!r}") for n, v in modules.items()},
            {
                n: fused.one_of(v, f"layer {n!r}", (None, *ACTIVATIONS))
                for n, v in activations.items()
            },
        ),
    )


def _read_layer(spec: object, name: str) -> Layer:
    keys = ("format", "weight_shape", *_GEOMETRY, "groups", "activation", "fused", "prepared")
    layer = Fields(spec, f"layer {name!r}", (*keys, "dtype", "scaled"))
    shape = layer.naturals("weight_shape", (2, 4))
    made = Layer(
        layer.one_of(layer.get("format"), "format", tuple(TENSORS)),
        shape,
        activation=layer.one_of(layer.get("activation"), "activation", (None, *ACTIVATIONS)),
        fused=layer.flag(layer.get("fused", False), "fused"),
        prepared="prepared" in layer,
        dtype=layer.one_of(layer.get("dtype"), "dtype", (None, *DTYPES)),
        is_scaled=layer.flag(layer.get("scaled", False), "scaled"),
    )
    if made.is_scaled and made.dtype is None:
        msg = f"layer {name!r} is scaled, but has no dtype"
        raise ValueError(msg)
    if made.prepared:
        prepared = Fields(layer.mapping("prepared"), f"layer {name!r}", ("rows",))
        rows = prepared.natural("rows") if "rows" in prepared else None
        made = replace(made, rows=rows)
    if "groups" not in layer:
        return made
    if len(shape) != 4 or (made.format != "csr" and shape[2:] != (1, 1)):
        msg = f"layer {name!r} has a geometry, but is no convolution that {made.format} can be"
        raise ValueError(msg)
    stride, padding, dilation = (_pair(layer.naturals(key, (2,))) for key in _GEOMETRY)
    groups = layer.natural("groups")
    geometry = ConvGeometry(_pair(shape[2:]), stride, padding, dilation, groups)
    geometry.check(made.matrix_shape)
    return replace(made, geometry=geometry)


def _pair(numbers: tuple[int, ...]) -> tuple[int, int]:
    first, second = numbers
    return (first, second)
