"""What `sparsify_` measured and chose: values, a text table, and choices in a file."""

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

from torch import nn

from sparsecore.durations import duration
from sparsecore.html_report.render import fragment
from sparsecore.html_report.write import make_page, write_html
from sparsecore.text_table import table_lines

__all__ = ["Format", "LayerReport", "Report", "load_choices", "save_choices"]

Format: TypeAlias = Literal["dense", "csr", "2:4"]
FORMATS: tuple[Format, ...] = get_args(Format)


@dataclass(frozen=True, slots=True)
class LayerReport:
    """One layer: what it is, what was measured, what was chosen and why.

    Attributes
    ----------
    name : str
        As in ``model.named_modules()``.
    shape : (int, int)
        Of the weight as a matrix: (out_features, in_features), or (out_channels, in_channels /
        groups * kernel_h * kernel_w).
    sparsity : float
        Fraction of the weight that is exactly zero; NaN where the weight is computed (by a
        parametrization) or on the meta device.
    is_24 : bool
        Whether no group of four in a row has more than two nonzeros.
    rows : tuple of int
        Rows of each kind of input that the example gave the layer, leading dimensions flattened;
        of a convolution, pixels of the result. Empty where it was not called, or not watched
        because it has to stay as it is.
    seconds : mapping of str to float
        Median time in one run of the model, by format; empty where nothing was measured.
    nbytes : mapping of str to int
        Bytes of the weight in memory by format, the kernels' own copy of indices included.
    error : float or None
        Of the chosen sparse format, see `sparsify_`; None for dense.
    choice : {"dense", "csr", "2:4"}
    why : str
        One sentence with its numbers.
    values : str or None
        The dtype of the chosen sparse format's values, as "int8"; None for dense.
    """

    name: str
    shape: tuple[int, int]
    sparsity: float
    is_24: bool
    rows: tuple[int, ...]
    seconds: Mapping[Format, float]
    nbytes: Mapping[Format, int]
    error: float | None
    choice: Format
    why: str
    values: str | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """The layers, and the whole model before and after. ``str(report)`` is a table.

    Attributes
    ----------
    layers : tuple of LayerReport
    seconds_before, seconds_after : float or None
        Median time of the model on the example, all dense and as chosen; None where the policy
        measures nothing.
    bytes_before, bytes_after : int
        Of all parameters and buffers and the kernels' own copies.
    max_error : float
        Largest difference between the outputs of the chosen and of the dense model, relative to
        the largest magnitude of the output tensor.
    already_sparse : tuple of str
        Layers that were sparse before; they are not among `layers`.
    seconds_fused : float or None
        Of the model with dense layers, fused with what follows them; None where nothing was.
    fused : str
        What was fused: "53 BatchNorms, 16 residuals, 49 activations".
    channels_last : bool
        Whether the fused model brings images into that order first.
    values : {"bfloat16", "float16", "int8"} or None
        What `sparsify_` was told to store sparse values in; None: in the layers' dtypes.
    choices : dict of str to {"dense", "csr", "2:4"}
        The format of each of `layers`, by name.
    """

    layers: tuple[LayerReport, ...]
    seconds_before: float | None
    seconds_after: float | None
    bytes_before: int
    bytes_after: int
    max_error: float
    already_sparse: tuple[str, ...] = ()
    seconds_fused: float | None = None
    fused: str = ""
    channels_last: bool = False
    values: str | None = None

    @property
    def choices(self) -> dict[str, Format]:
        """The format of each layer: save it, or give it to ``sparsify_`` as `policy`."""
        return {layer.name: layer.choice for layer in self.layers}

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON-ready lists, dicts, numbers and strings; NaN as None."""
        text = json.dumps(asdict(self))
        as_dict: dict[str, Any] = json.loads(text, parse_constant=lambda _: None)
        return as_dict

    def save_html(
        self,
        path: str | os.PathLike[str],
        *sources: Any,
        model: nn.Module | None = None,
        layers: Sequence[str] = (),
        title: str | None = None,
    ) -> None:
        """Write one HTML page: this report, and pictures of the model's weights.

        Parameters
        ----------
        path, sources, layers, title
            As of :func:`sparsecore.html_report.write_html`; a `LatencyTable` among the sources adds
            each layer's break-even.
        model : torch.nn.Module, optional
            The converted model, whose weights are drawn.

        Examples
        --------
        >>> import pathlib, tempfile
        >>> report = Report((), None, None, 400, 400, 0.0)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder, "report.html")
        ...     report.save_html(path, title="Nothing to convert")
        ...     path.stat().st_size < 20_000
        True
        """
        write_html(path, self, *sources, weights=model, layers=layers, title=title)

    def _repr_html_(self) -> str:
        """Return the totals and the layers as a notebook shows them."""
        return fragment(make_page(self))

    def __str__(self) -> str:
        """Return a table of the layers, the reasons, and the model's totals."""
        table = _table(self.layers, stored=self.values is not None)
        layers = [*table, "", *_reasons(self.layers)]
        found = layers if self.layers else [_why_no_layers(self)]
        return "\n".join([*found, "", *_totals(self)])


# ---- text ----


def _table(layers: Sequence[LayerReport], *, stored: bool) -> list[str]:
    """Return the lines of the table; where values are `stored` narrower, with dtype and error."""
    head = ["layer", "shape", "sparsity", "2:4", "rows", *FORMATS, "bytes", "choice"]
    rows = [head, *map(_row, layers)]
    if stored:
        errors = ["-" if layer.error is None else f"{layer.error:.2g}" for layer in layers]
        dtypes = [layer.values or "-" for layer in layers]
        for row, dtype, error in zip(rows, ["values", *dtypes], ["error", *errors], strict=True):
            row += [dtype, error]
    return table_lines(rows)


def _row(layer: LayerReport) -> list[str]:
    times = [duration(layer.seconds[f]) if f in layer.seconds else "-" for f in FORMATS]
    after = layer.nbytes[layer.choice]
    before = layer.nbytes["dense"]
    return [
        layer.name,
        f"{layer.shape[0]} x {layer.shape[1]}",
        "-" if math.isnan(layer.sparsity) else f"{layer.sparsity:.1%}",
        "yes" if layer.is_24 else "no",
        ", ".join(map(str, layer.rows)) or "-",
        *times,
        f"{before:,}" if after == before else f"{before:,} -> {after:,}",
        layer.choice,
    ]


def _reasons(layers: Sequence[LayerReport]) -> list[str]:
    return [f"{layer.name}: {layer.why}" for layer in layers]


def _why_no_layers(report: Report) -> str:
    if report.already_sparse:
        return f"nothing to convert: already converted: {', '.join(report.already_sparse)}"
    return "nothing to convert: the model has no nn.Linear or nn.Conv2d layer"


def _totals(report: Report) -> list[str]:
    lines = [f"memory: {report.bytes_before:,} -> {report.bytes_after:,} bytes"]
    if report.seconds_before is not None and report.seconds_after is not None:
        ratio = report.seconds_before / report.seconds_after if report.seconds_after else 1.0
        lines.append(
            f"time:   {duration(report.seconds_before)} -> {duration(report.seconds_after)} "
            f"({ratio:.2f}x)"
        )
    if report.seconds_fused is not None:
        lines.append(f"        dense, but fused: {duration(report.seconds_fused)}")
    if report.fused:
        order = "; images in channels_last order" if report.channels_last else ""
        lines.append(f"fused:  {report.fused}{order}")
    lines.append(f"output: differs by {report.max_error:.2g} at most (relative)")
    return lines


# ---- files ----


def save_choices(path: str | os.PathLike[str], choices: Report | Mapping[str, Format]) -> None:
    """Write the choices of a report as a JSON object, layer name to format.

    Parameters
    ----------
    path : path
        The file, overwritten if it exists.
    choices : Report, or mapping of str to {"dense", "csr", "2:4"}

    Raises
    ------
    ValueError
        If a choice is not one of the three formats.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "choices.json")
    ...     save_choices(path, {"fc1": "csr", "fc2": "dense"})
    ...     load_choices(path)
    {'fc1': 'csr', 'fc2': 'dense'}
    """
    mapping = choices.choices if isinstance(choices, Report) else choices
    text = json.dumps(check_choices(mapping, name="save_choices: choices"), indent=2)
    Path(path).write_text(text + "\n", encoding="utf-8")


def load_choices(path: str | os.PathLike[str]) -> dict[str, Format]:
    """Read what :func:`save_choices` wrote, to give it to ``sparsify_`` as `policy`.

    Raises
    ------
    ValueError
        If the file is not a JSON object of layer names to formats.
    """
    name = f"load_choices: {Path(path).name}"
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        msg = f"{name} is not JSON: {error}"
        raise ValueError(msg) from error
    return check_choices(content, name=name)


def check_choices(choices: object, *, name: str) -> dict[str, Format]:
    """Return `choices` as a dict if it maps names to formats.

    Raises
    ------
    ValueError
        If it does not, naming the layer.
    """
    if not isinstance(choices, Mapping):
        msg = f"{name} is a {type(choices).__name__}, expected a mapping of layer name to format"
        raise ValueError(msg)
    for layer, choice in choices.items():
        if not isinstance(layer, str) or choice not in FORMATS:
            expected = ", ".join(map(repr, FORMATS))
            msg = f"{name} has {choice!r} for layer {layer!r}, expected one of {expected}"
            raise ValueError(msg)
    return dict(choices)
